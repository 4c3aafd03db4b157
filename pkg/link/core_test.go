package link

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRingIsAByteQueue compares the ring with a plain slice.
func TestRingIsAByteQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []byte // everything ever written
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := bytes.Repeat([]byte{byte(len(model))}, rapid.SampledFrom([]int{0, 1, 100, 1500, 3000, 5000}).Draw(t, "size"))
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
				if r.head != uint64(len(model)) {
					t.Fatalf("head %d, %d bytes written", r.head, len(model))
				}
			},
		})
	})
}

func TestRingTakesNothingWithoutABuffer(t *testing.T) {
	r := ring{head: 5, tail: 5}
	r.reserve(0)
	r.write(nil)
	if r.len() != 0 {
		t.Errorf("%d bytes after nothing was written", r.len())
	}
}

func TestRingIsReleasedWhenQuiet(t *testing.T) {
	var r ring
	r.reserve(1 << 20)
	r.write(make([]byte, 1<<20))
	r.trim()
	r.discard(r.head)
	r.trim()
	if !r.large() {
		t.Error("released although it was full since the last trim")
	}
	r.trim()
	if r.large() {
		t.Error("not released")
	}
	r.reserve(keepRing)
	r.trim()
	r.trim()
	if len(r.buf) == 0 {
		t.Error("a small buffer was released")
	}
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

// threeSent returns a sender of which the batches of frames 1 to 3 left in
// datagrams 1 to 3.
func threeSent(t *testing.T) *sender {
	s := &sender{limits: limits{maxBody: 10, minRTO: time.Second, maxRTO: time.Second, windowFrames: 4, windowBytes: 100}}
	for num := range uint64(3) {
		s.push(make([]byte, 8), nil)
		if b, again := s.next(num+1, time.Unix(1, 0)); b == nil || again || b.first != num+1 {
			t.Fatalf("datagram %d takes %+v", num+1, b)
		}
	}
	return s
}

func (s *sender) wantRepair(t *testing.T, frames ...uint64) {
	t.Helper()
	for i, first := range frames {
		if b, again := s.next(uint64(100+i), time.Unix(2, 0)); b == nil || !again || b.first != first {
			t.Fatalf("%+v is repaired, want the batch of frame %d", b, first)
		}
	}
	if s.ready() {
		t.Fatalf("more than %v is repaired", frames)
	}
}

func TestMissingIsJudgedByWhatThePeerSaw(t *testing.T) {
	s := threeSent(t)
	s.missing(span{1, 3}, 2)
	s.wantRepair(t, 1, 2)
	s.missing(span{1, 3}, 99)
	s.wantRepair(t, 3)
}

func TestReportsInAnyOrder(t *testing.T) {
	s := threeSent(t)
	s.missing(span{3, 3}, 3)
	s.missing(span{1, 1}, 3)
	s.missing(span{1, 1}, 3)
	s.wantRepair(t, 1, 3)
}

func TestNobodyListens(t *testing.T) {
	s := threeSent(t)
	s.nobody(2)
	if s.ready() {
		t.Fatal("frames go to a peer that does not listen")
	}
	s.unsubscribed = false
	s.wantRepair(t, 2)
	s.ack(3, time.Unix(2, 0))
	s.nobody(4) // that was an acknowledgement
	s.push([]byte("x"), nil)
	if !s.ready() {
		t.Fatal("the next frame is not tried")
	}
}

func TestCrowdedSenderAsksOncePerAnswer(t *testing.T) {
	s := threeSent(t) // of a window of four
	for seen, want := range []bool{true, false, false, true} {
		if seen == 3 {
			seen = 50
		}
		if got := s.crowded(50, uint64(seen)); got != want {
			t.Errorf("peer saw %d: %v, want %v", seen, got, want)
		}
	}
	s.ack(2, time.Unix(2, 0))
	if s.crowded(60, 60) {
		t.Error("a quarter of the window is no crowd")
	}
}

func TestProgressRestartsTheClocks(t *testing.T) {
	s := threeSent(t)
	now := time.Unix(10, 0)
	s.tick(now)
	if !s.stuckAt.Equal(now) {
		t.Fatalf("stuck since %v, want %v", s.stuckAt, now)
	}
	s.ack(0, now.Add(time.Second))
	if !s.stuckAt.Equal(now) {
		t.Fatal("no progress was taken for some")
	}
	now = now.Add(2 * time.Second)
	s.ack(1, now)
	if !s.stuckAt.Equal(now) || !s.askAt.Equal(now.Add(time.Second)) {
		t.Fatalf("stuck since %v, question at %v", s.stuckAt, s.askAt)
	}
	s.ack(3, now)
	if !s.stuckAt.IsZero() || !s.askAt.IsZero() || s.tick(now.Add(time.Hour)) {
		t.Fatal("clocks run with nothing outstanding")
	}
}

func TestHeldSegmentIsHeldOnce(t *testing.T) {
	r := receiver{heldLimit: 1000}
	g := segment{first: 3, count: 2, body: []byte{1, 3, 1, 4}}
	if o := r.accept(g); o != (outcome{fresh: 2}) {
		t.Fatalf("%+v", o)
	}
	before := r.bytes
	if o := r.accept(g); o != (outcome{dup: 2}) || r.bytes != before {
		t.Fatalf("again: %+v, %d bytes are held instead of %d", o, r.bytes, before)
	}
}

// TestLateArrivalCancelsRepair: a batch that was marked lost and is acknowledged
// after all does not leave again, and hides no other.
func TestLateArrivalCancelsRepair(t *testing.T) {
	s := threeSent(t)
	s.missing(span{1, 1}, 3)
	s.missing(span{3, 3}, 3)
	s.ack(2, time.Unix(2, 0))
	s.wantRepair(t, 3)
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
		if arrived[next] {
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
