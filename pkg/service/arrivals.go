package service

import (
	"sync"
	"time"
)

// clock is what arrivals count time from: cheaper to read than time.Now.
var clock = time.Now()

const (
	// timedEvery is about how often a message of a socket is timed, if it has more.
	timedEvery = time.Second / 16
	// maxSkip bounds how many messages are passed over, in case fewer come than did.
	maxSkip = 1024
)

// arrivals times how long messages of a socket are queued: one at a time, and of a
// socket with many messages one now and then, so that it costs the same however many
// there are. Messages leave in the order in which they came. Safe for concurrent use.
type arrivals struct {
	mu     sync.Mutex
	queued int           // messages that have not left
	timed  bool          // one of them is timed
	ahead  int           // how many of them leave before that one does
	came   time.Duration // when that one did, since clock

	left time.Duration // when the last one that was timed left; 0: none has
	seen int           // messages that came since
	skip int           // how many are to come before one is timed
}

// push notes that a message came.
func (a *arrivals) push() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen++
	switch {
	case a.timed:
	case a.skip > 0:
		a.skip--
	default:
		a.timed, a.ahead, a.came = true, a.queued, time.Since(clock)
	}
	a.queued++
}

// pop notes that the oldest message left; there must be one. If it was timed, it
// returns how long it was queued, and true.
func (a *arrivals) pop() (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queued--
	if !a.timed {
		return 0, false
	}
	if a.ahead > 0 {
		a.ahead--
		return 0, false
	}
	now := time.Since(clock)
	a.skip = 0
	if rest := a.left + timedEvery - now; rest > 0 && a.left != 0 {
		// As many are passed over as come in the rest of the time, if they come as
		// they did.
		a.skip = int(min(int64(a.seen)*int64(rest)/int64(max(now-a.left, 1)), maxSkip))
	}
	a.timed, a.left, a.seen = false, now, 0
	return now - a.came, true
}
