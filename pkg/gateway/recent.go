package gateway

// recent remembers values under the keys that were put last: the last limit/2
// distinct ones at least, removed ones counted, and at most limit. Its zero value
// with a limit is ready.
//
// There are two generations. A key that is put goes to the young one; when that
// is half the limit, it becomes the old one, and the previous old one is
// forgotten.
type recent[V comparable] struct {
	limit      int
	young, old map[string]V
}

// put stores v as the value of key.
func (r *recent[V]) put(key []byte, v V) {
	if have, ok := r.young[string(key)]; ok && have == v {
		return
	}
	if r.young == nil {
		r.young = make(map[string]V)
	}
	r.young[string(key)] = v
	if len(r.young) >= (r.limit+1)/2 {
		r.old, r.young = r.young, nil
	}
}

// get returns the value of key.
func (r *recent[V]) get(key []byte) (v V, ok bool) {
	if v, ok = r.young[string(key)]; !ok {
		v, ok = r.old[string(key)]
	}
	return v, ok
}

// remove forgets key.
func (r *recent[V]) remove(key []byte) {
	delete(r.young, string(key))
	delete(r.old, string(key))
}

// takeAll calls f with every key, once, and forgets all.
func (r *recent[V]) takeAll(f func(key string)) {
	for k := range r.young {
		f(k)
		delete(r.old, k)
	}
	for k := range r.old {
		f(k)
	}
	r.young, r.old = nil, nil
}
