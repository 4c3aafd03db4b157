package registry

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// fakePins does in memory what pins.lua does in Redis.
type fakePins struct {
	pins map[wire.SocketID]wire.Incarnation
	next int  // instance
	none bool // no instance serves
	ever bool // there was a time when none did
}

func (f *fakePins) run(batch []operation) []operation {
	for n, op := range batch {
		s := op.entry.socket
		if op.code != opPin {
			delete(f.pins, s)
		}
		if _, ok := f.pins[s]; !ok && op.code != opUnpin && !f.none {
			f.next++
			f.pins[s] = inc("i", f.next)
		}
		batch[n].at = f.pins[s]
	}
	return batch
}

// TestPinSet lets callers come and go while batches succeed, get lost, or run
// without an answer: in the end exactly the wanted sockets are pinned, everybody was
// answered once, and memory equals what was pinned.
func TestPinSet(t *testing.T) {
	histories(t, 3000, func(t *rapid.T) {
		set, redis := newPinSet(), &fakePins{pins: map[wire.SocketID]wire.Incarnation{}}
		wants := map[wire.SocketID]bool{} // what the last call about the socket said
		type request struct {
			*waiter
			socket wire.SocketID
			before wire.Incarnation // the pin that was unpinned just before
		}
		var requests []request
		const limit = 8
		socket := func() wire.SocketID {
			return wire.SocketID(fmt.Sprint("s", rapid.IntRange(1, 6).Draw(t, "socket")))
		}
		var batch []operation // in flight
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				waiting := 0
				for s, e := range set.pending {
					if len(e.waiters) > 0 {
						waiting++
					}
					if e.gone || e.socket != s {
						t.Fatalf("%s: forgotten entry %+v is still pending", s, e)
					}
				}
				if waiting != set.waiting {
					t.Fatalf("%d sockets are waited for; the set counts %d", waiting, set.waiting)
				}
				if len(set.retry) > limit {
					t.Fatalf("%d operations in doubt; a batch has %d", len(set.retry), limit)
				}
				if len(set.fresh) > 2*6+64+1 {
					t.Fatalf("%d entries for 6 sockets", len(set.fresh))
				}
			},
			"pin": func(*rapid.T) {
				s, w := socket(), newWaiter()
				set.pin(s, w, 100)
				wants[s] = true
				requests = append(requests, request{waiter: w, socket: s})
			},
			"unpin": func(*rapid.T) {
				s := socket()
				set.unpin(s)
				wants[s] = false
			},
			"repin": func(*rapid.T) {
				s, w := socket(), newWaiter()
				before := set.settled[s]
				set.unpin(s)
				set.pin(s, w, 100)
				wants[s] = true
				requests = append(requests, request{waiter: w, socket: s, before: before})
			},
			"give up": func(*rapid.T) {
				s, w := socket(), newWaiter()
				_, settled := set.settled[s]
				e := set.pending[s]
				set.pin(s, w, 100)
				set.abandon(s, w)
				switch { // others still want it, or it was there already
				case e == nil:
					wants[s] = settled
				case !e.want || len(e.waiters) == 0:
					wants[s] = false
				}
			},
			"pin over the limit": func(t *rapid.T) {
				s, w := wire.SocketID("over"), newWaiter()
				set.pin(s, w, 0)
				if res := <-w.done; !errors.Is(res.err, ErrUnavailable) {
					t.Fatalf("pin over the limit gave %+v", res)
				}
			},
			"send": func(*rapid.T) {
				if batch == nil {
					batch = set.take(limit, nil)
				}
			},
			"answer": func(t *rapid.T) {
				redis.none = rapid.IntRange(0, 30).Draw(t, "no instance") == 0
				redis.ever = redis.ever || redis.none
				set.settle(redis.run(batch))
				batch = nil
			},
			"lose": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "it ran") {
					redis.run(batch)
				}
				set.unknown(batch)
				batch = nil
			},
			"new generation": func(*rapid.T) {
				if batch == nil {
					set.restart()
					redis.pins = maps.Clone(set.settled)
				}
			},
		})
		set.settle(redis.run(batch))
		redis.none = false
		for {
			if batch = set.take(limit, nil); len(batch) == 0 {
				break
			}
			set.settle(redis.run(batch))
		}
		if !maps.Equal(set.settled, redis.pins) {
			t.Fatalf("the set has %v; redis has %v", set.settled, redis.pins)
		}
		sum := int64(0)
		for s, at := range set.settled {
			sum += pinSum(s, at)
			if !wants[s] {
				t.Fatalf("%s is pinned, but nobody wants it", s)
			}
		}
		if sum != set.sum {
			t.Fatalf("the checksum is %d; over the pins it is %d", set.sum, sum)
		}
		if len(set.pending) != 0 || set.waiting != 0 || set.doubtful() {
			t.Fatalf("left over: %d pending, %d waiting, %d in doubt", len(set.pending), set.waiting, len(set.retry))
		}
		for _, q := range requests {
			select {
			case res := <-q.done:
				if errors.Is(res.err, ErrNoInstance) && !redis.ever {
					t.Fatalf("%s: no instance, though there always was one", q.socket)
				}
				if res.err == nil && !q.before.IsZero() && res.instance == q.before {
					t.Fatalf("%s was unpinned from %v and pinned again; it was told it is still there", q.socket, q.before)
				}
			default:
				t.Fatalf("%s: a pin was never answered", q.socket)
			}
			select {
			case <-q.done:
				t.Fatalf("%s: a pin was answered twice", q.socket)
			default:
			}
		}
	})
}

// TestPinSetForgets lets callers come and give up while nothing is ever sent.
func TestPinSetForgets(t *testing.T) {
	set := newPinSet()
	for n := range 100_000 {
		s, w := wire.SocketID(strconv.Itoa(n)), newWaiter()
		set.pin(s, w, 100)
		set.abandon(s, w)
	}
	if len(set.fresh) > 100 || len(set.pending) > 0 {
		t.Errorf("%d queued and %d pending entries are left of callers that gave up", len(set.fresh), len(set.pending))
	}
}
