package gateway

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ticks counts the steps of a wheel's clock since the gateway was made.
type ticks uint32

// wheelSlots is how many steps ahead a visit can be planned.
const wheelSlots = 64

// wheel is one timer for all connections: each waits in the slot of the step at
// which it wants to be looked at next. An idle connection costs no goroutine and
// no runtime timer.
type wheel struct {
	step time.Duration
	now  atomic.Uint32

	mu    sync.Mutex
	slots [wheelSlots]*conn
}

// wheelLinks is a connection's place in the wheel.
type wheelLinks struct { // guarded by wheel.mu
	prev, next *conn
	slot       int8
	in         bool
	gone       bool
}

// newWheel returns a wheel whose steps suit intervals of the given length: a
// 25th of it, so that the default interval has steps of a second.
func newWheel(interval time.Duration) *wheel {
	return &wheel{step: max(min(interval/25, time.Second), time.Millisecond)}
}

// ticks returns how many whole steps fit in d, at least one.
func (w *wheel) ticks(d time.Duration) ticks {
	return ticks(max(d/w.step, 1))
}

func (w *wheel) time() ticks { return ticks(w.now.Load()) }

// plan puts c into the slot of a step at most in ahead of now, unless it has been
// removed for good.
func (w *wheel) plan(c *conn, in ticks) {
	in = max(min(in, wheelSlots-1), 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &c.wheel
	if l.gone {
		return
	}
	w.unlink(c)
	l.slot = int8((w.now.Load() + uint32(in)) % wheelSlots)
	l.prev, l.next, l.in = nil, w.slots[l.slot], true
	if l.next != nil {
		l.next.wheel.prev = c
	}
	w.slots[l.slot] = c
}

// remove takes c out for good.
func (w *wheel) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(c)
	c.wheel.gone = true
}

// unlink takes c out of its slot. mu is held.
func (w *wheel) unlink(c *conn) {
	l := &c.wheel
	if !l.in {
		return
	}
	if l.prev != nil {
		l.prev.wheel.next = l.next
	} else {
		w.slots[l.slot] = l.next
	}
	if l.next != nil {
		l.next.wheel.prev = l.prev
	}
	l.prev, l.next, l.in = nil, nil, false
}

// advance moves the clock by one step and visits the connections that are due. The
// visit returns after how many steps it wants the next one.
func (w *wheel) advance(visit func(c *conn, now ticks) (next ticks)) {
	now := w.now.Add(1)
	for {
		w.mu.Lock()
		c := w.slots[now%wheelSlots]
		if c != nil {
			w.unlink(c)
		}
		w.mu.Unlock()
		if c == nil {
			return
		}
		w.plan(c, visit(c, ticks(now)))
	}
}

// jitter shortens a number of steps by up to a fifth, at random.
func jitter(n ticks) ticks {
	return n - ticks(rand.Uint32N(uint32(n/5)+1))
}
