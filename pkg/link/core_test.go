package link

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRingIsAByteQueue compares the ring with a plain slice.
func TestRingIsAByteQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []byte // everything ever written
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "bytes")
				r.reserve(len(p))
				r.write(p)
				model = append(model, p...)
			},
			"write number": func(t *rapid.T) {
				v := rapid.Uint64().Draw(t, "number")
				r.reserve(uvarintLen(v))
				before := r.head
				r.writeUvarint(v)
				model = r.appendTo(model, before, int(r.head-before))
				if got, want := model[before:], appendUvarint64(nil, v); !bytes.Equal(got, want) {
					t.Fatalf("%d was written as %x, want %x", v, got, want)
				}
			},
			"discard": func(t *rapid.T) { r.discard(rapid.Uint64Range(r.tail, r.head).Draw(t, "position")) },
			"trim":    func(*rapid.T) { r.trim() },
			"": func(t *rapid.T) {
				pos := rapid.Uint64Range(r.tail, r.head).Draw(t, "from")
				n := rapid.IntRange(0, int(r.head-pos)).Draw(t, "length")
				if got := r.appendTo([]byte("x"), pos, n); string(got) != "x"+string(model[pos:int(pos)+n]) {
					t.Fatalf("%d bytes at %d are wrong", n, pos)
				}
				if r.head != uint64(len(model)) || len(r.buf) > 2*max(r.peak, minRing) && len(r.buf) > keepRing && r.len() == 0 && r.peak == 0 {
					t.Fatalf("head %d, %d bytes written, buffer %d", r.head, len(model), len(r.buf))
				}
			},
		})
	})
}

func appendUvarint64(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func TestQueueKeepsOrderWhileItGrows(t *testing.T) {
	var q queue[uint64]
	for i := range uint64(1000) {
		q.push(i)
		if i%3 == 0 {
			if got := *q.at(q.tail); got != q.tail {
				t.Fatalf("element %d is %d", q.tail, got)
			}
			q.tail++
		}
	}
	for i := q.tail; i < q.head; i++ {
		if got := *q.at(i); got != i {
			t.Fatalf("element %d is %d", i, got)
		}
	}
}

// TestReceiverOrdersAnyArrival: segments in any order, repeated and overlapping,
// come out as every frame once, in order, and missing names exactly the rest.
func TestReceiverOrdersAnyArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const total = 60
		r := receiver{heldLimit: 1 << 20}
		arrived := map[uint64]bool{}
		next := uint64(1)
		for range rapid.IntRange(1, 60).Draw(t, "segments") {
			g := segment{first: rapid.Uint64Range(1, total).Draw(t, "first")}
			g.count = rapid.IntRange(1, int(total-g.first+1)).Draw(t, "count")
			for n := g.first; n <= g.end(); n++ {
				g.body = append(g.body, 1, byte(n))
				arrived[n] = true
			}
			known := r.last
			o := r.accept(g)
			if o.dropped || o.fresh+o.dup != g.count {
				t.Fatalf("%d frames: %+v", g.count, o)
			}
			r.announce(max(known, g.end()), known, span{g.first, g.end()})
			for _, s := range r.ready {
				for body := s.body; len(body) > 0; next++ {
					var frame []byte
					if frame, body = cutFrame(body); frame[0] != byte(next) {
						t.Fatalf("frame %d came, %d was due", frame[0], next)
					}
				}
			}
			r.ready = r.ready[:0]
		}
		var want []span
		for n := uint64(1); n <= r.last; n++ {
			switch {
			case arrived[n]:
			case len(want) > 0 && want[len(want)-1].last == n-1:
				want[len(want)-1].last = n
			default:
				want = append(want, span{n, n})
			}
		}
		if got := r.missing(nil, 1000); !slices.Equal(got, want) {
			t.Fatalf("missing %v, want %v", got, want)
		}
		if got := r.missing(nil, 2); !slices.Equal(got, want[:min(2, len(want))]) {
			t.Fatalf("the first two runs: %v, want %v", got, want)
		}
		if arrived[next] || r.incomplete() != (len(want) > 0) {
			t.Fatalf("frame %d arrived and was not delivered", next)
		}
		held := 0
		for _, g := range r.held {
			held += len(g.body) + segmentOverhead
		}
		if held != r.bytes {
			t.Fatalf("%d bytes are held, %d counted", held, r.bytes)
		}
	})
}
