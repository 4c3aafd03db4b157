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
	timer *time.Timer // guarded by mu: nil while list is empty
	due   time.Time   // guarded by mu: of timer
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
	if h.timer == nil || e.until.Add(holdGrain).Before(h.due) {
		h.wait(e.until)
	}
}

// wait has end called at a time, and no earlier. mu is held.
func (h *holds) wait(until time.Time) {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.due = until.Add(holdGrain)
	h.timer = time.AfterFunc(time.Until(h.due), h.end)
}

// end confirms those whose time is over.
func (h *holds) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = nil
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
		h.list = nil // let the array go
		return
	}
	h.wait(next)
}
