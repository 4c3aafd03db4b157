package link

// ring is a byte queue. Positions are absolute: they count bytes since the
// beginning and stay valid while the buffer grows.
type ring struct {
	buf  []byte // length is zero or a power of two
	tail uint64 // position of the oldest byte kept
	head uint64 // position after the newest byte
	peak int    // most bytes kept since the last trim
}

// minRing is the smallest buffer, and the largest that an idle ring keeps.
const (
	minRing  = 4 << 10
	keepRing = 16 << 10
)

func (r *ring) len() int { return int(r.head - r.tail) }

// reserve makes room for n more bytes.
func (r *ring) reserve(n int) {
	need := r.len() + n
	r.peak = max(r.peak, need)
	if need > len(r.buf) {
		size := max(len(r.buf), minRing)
		for size < need {
			size *= 2
		}
		r.resize(size)
	}
}

func (r *ring) resize(size int) {
	old := *r
	r.buf = make([]byte, size)
	r.head = r.tail
	if n := old.len(); n > 0 {
		at := int(old.tail & uint64(len(old.buf)-1))
		first := min(n, len(old.buf)-at)
		r.write(old.buf[at : at+first])
		r.write(old.buf[:n-first])
	}
}

// write appends p, for which there must be room.
func (r *ring) write(p []byte) {
	if len(p) == 0 {
		return // there may be no buffer
	}
	at := int(r.head & uint64(len(r.buf)-1))
	n := copy(r.buf[at:], p)
	if n < len(p) {
		copy(r.buf, p[n:])
	}
	r.head += uint64(len(p))
}

// writeUvarint appends v as encoding/binary.PutUvarint does.
func (r *ring) writeUvarint(v uint64) {
	mask := uint64(len(r.buf) - 1)
	for v >= 0x80 {
		r.buf[r.head&mask] = byte(v) | 0x80
		r.head++
		v >>= 7
	}
	r.buf[r.head&mask] = byte(v)
	r.head++
}

// appendTo appends the n bytes at position pos to dst.
func (r *ring) appendTo(dst []byte, pos uint64, n int) []byte {
	if n == 0 {
		return dst
	}
	at := int(pos & uint64(len(r.buf)-1))
	first := min(n, len(r.buf)-at)
	dst = append(dst, r.buf[at:at+first]...)
	return append(dst, r.buf[:n-first]...)
}

// discard drops everything before pos.
func (r *ring) discard(pos uint64) { r.tail = pos }

// large reports whether trim may find something to release.
func (r *ring) large() bool { return len(r.buf) > keepRing }

// trim releases the buffer if it is empty and much larger than what was kept in
// it since the last trim.
func (r *ring) trim() {
	if r.large() && r.len() == 0 && r.peak < len(r.buf)/4 {
		r.buf = nil
	}
	r.peak = r.len()
}

// trim releases the buffer if the queue is empty.
func (q *queue[T]) trim() {
	if q.len() == 0 {
		q.buf = nil
	}
}

// queue is a first-in-first-out list with absolute indices.
type queue[T any] struct {
	buf  []T // length is zero or a power of two
	tail uint64
	head uint64
}

func (q *queue[T]) len() int { return int(q.head - q.tail) }

// at returns element i, which lies in [tail, head).
func (q *queue[T]) at(i uint64) *T { return &q.buf[i&uint64(len(q.buf)-1)] }

// push adds an element at the head and returns it for writing.
func (q *queue[T]) push(v T) *T {
	if q.len() == len(q.buf) {
		old := *q
		q.buf = make([]T, max(2*len(old.buf), 8))
		for i := old.tail; i < old.head; i++ {
			*q.at(i) = *old.at(i)
		}
	}
	p := q.at(q.head)
	*p = v
	q.head++
	return p
}
