package velarosadapter

// recentIDs is how many message ids are remembered per socket. When that many are
// known, the half that was not used for longest is forgotten.
const recentIDs = 1024

// recent remembers a value for each of the ids that were used last. Its owner
// locks it.
type recent struct{ young, old map[string]string }

// put remembers a value, and that its id is in use.
func (r *recent) put(id, value string) {
	if len(r.young) >= recentIDs/2 {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = map[string]string{}
	}
	r.young[id] = value
}

// get returns what is remembered for an id.
func (r *recent) get(id string) (string, bool) {
	if value, ok := r.young[id]; ok {
		return value, true
	}
	value, ok := r.old[id]
	return value, ok
}
