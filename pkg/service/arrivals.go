package service

import (
	"sync/atomic"
	"time"
)

// clock is what arrivals count time from: cheaper to read than time.Now.
var clock = time.Now()

const (
	// timedEvery is about how often a message of a socket is timed, if it has more.
	timedEvery = time.Second / 16
	// maxSkip bounds how many messages are passed over before the clock is read again,
	// in case fewer come than did.
	maxSkip = 64
)

// arrivals times how long messages of a socket are queued: one at a time, and of a
// socket with many messages one now and then, so that it costs the same however many
// there are. Messages are numbered from 1, and leave in the order in which they came. It
// takes no lock: push is for one goroutine at a time, pop for any.
type arrivals struct {
	timed atomic.Uint64 // the message that is timed; 0: none
	left  atomic.Uint64 // messages that have left

	// owned by push; pop reads came of a message that is timed
	came   time.Duration // when the last one that was timed did, since clock; 0: none was
	number uint64        // of it
	pushed uint64        // messages that came
	skip   uint64        // up to this message none is timed
}

// push notes that a message came.
func (a *arrivals) push() {
	a.pushed++
	if a.pushed <= a.skip || a.timed.Load() != 0 {
		return
	}
	now := time.Since(clock)
	if rest := a.came + timedEvery - now; rest > 0 && a.came != 0 {
		// As many are passed over as come in the rest of the time, if they come as
		// they did.
		came := (a.pushed - a.number) * uint64(rest) / uint64(max(now-a.came, 1))
		a.skip = a.pushed + min(came, maxSkip)
		return
	}
	a.came, a.number = now, a.pushed
	a.timed.Store(a.pushed)
}

// pop notes that the oldest message left; there must be one. If it was timed, it
// returns how long it was queued, and true.
func (a *arrivals) pop() (time.Duration, bool) {
	n := a.left.Add(1)
	if n != a.timed.Load() {
		return 0, false
	}
	queued := time.Since(clock) - a.came
	a.timed.Store(0)
	return queued, true
}
