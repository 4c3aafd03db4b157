package service

import (
	"sync"
	"time"
)

// arrivals are the times at which the queued messages of a socket came, oldest
// first: a ring that grows to the longest queue there was. Safe for concurrent
// use.
type arrivals struct {
	mu    sync.Mutex
	ring  []time.Time // its length is a power of two
	first int         // index of the oldest
	n     int
}

func (a *arrivals) push(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == len(a.ring) {
		grown := make([]time.Time, max(2*a.n, 4))
		k := copy(grown, a.ring[a.first:])
		copy(grown[k:], a.ring[:a.first])
		a.ring, a.first = grown, 0
	}
	a.ring[(a.first+a.n)&(len(a.ring)-1)] = t
	a.n++
}

// pop takes the oldest; there must be one.
func (a *arrivals) pop() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.ring[a.first]
	a.first = (a.first + 1) & (len(a.ring) - 1)
	a.n--
	return t
}
