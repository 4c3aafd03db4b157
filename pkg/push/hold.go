package push

import (
	"slices"
	"sync"
	"time"
)

// holds are joins that are confirmed at a certain time: after Redis has lost who
// watches an audience, there are thousands of them at once.
type holds struct {
	mu    sync.Mutex
	list  []hold      // guarded by mu
	timer *time.Timer // guarded by mu: nil before the first
	due   time.Time   // guarded by mu: of timer; zero while list is empty
}

type hold struct {
	until time.Time
	shown *shown
}

// holdGrain is how much later than it could be a join is confirmed, so that one timer
// serves many.
const holdGrain = 10 * time.Millisecond

// add confirms a join when d is over.
func (h *holds) add(d time.Duration, s *shown) {
	if d <= 0 {
		s.end(nil)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := hold{time.Now().Add(d), s}
	h.list = append(h.list, e)
	if h.due.IsZero() || e.until.Add(holdGrain).Before(h.due) {
		h.wait(e.until)
	}
}

// wait has end called at a time, and no earlier. mu is held.
func (h *holds) wait(until time.Time) {
	h.due = until.Add(holdGrain)
	if h.timer == nil {
		h.timer = time.AfterFunc(time.Until(h.due), h.end)
		return
	}
	h.timer.Reset(time.Until(h.due))
}

// end confirms those whose time is over.
func (h *holds) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var next time.Time
	h.list = slices.DeleteFunc(h.list, func(e hold) bool {
		if !now.Before(e.until) {
			e.shown.end(nil)
			return true
		}
		if next.IsZero() || e.until.Before(next) {
			next = e.until
		}
		return false
	})
	if len(h.list) == 0 {
		h.list, h.due = nil, time.Time{} // let the array go
		return
	}
	h.wait(next)
}
