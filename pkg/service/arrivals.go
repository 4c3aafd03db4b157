package service

import (
	"sync"
	"time"
)

// arrivals times how long messages of a socket are queued: one at a time, so that it
// costs the same however many there are. Messages leave in the order in which they
// came. Safe for concurrent use.
type arrivals struct {
	mu     sync.Mutex
	queued int       // messages that have not left
	ahead  int       // how many of them leave before the one that is timed does
	came   time.Time // when that one did; zero: none is timed
}

// push notes that a message came.
func (a *arrivals) push() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.came.IsZero() {
		a.ahead, a.came = a.queued, time.Now()
	}
	a.queued++
}

// pop notes that the oldest message left; there must be one. If it was timed, it
// returns how long it was queued, and true.
func (a *arrivals) pop() (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queued--
	if a.came.IsZero() {
		return 0, false
	}
	if a.ahead > 0 {
		a.ahead--
		return 0, false
	}
	waited := time.Since(a.came)
	a.came = time.Time{}
	return waited, true
}
