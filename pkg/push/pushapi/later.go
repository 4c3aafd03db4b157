package pushapi

import (
	"context"
	"slices"
	"sync"
	"time"
)

// later are notes that could not be changed, or may have to be changed again.
type later struct {
	mu      sync.Mutex
	list    []*lateNote // guarded by mu: at most Config.Remember
	running bool        // guarded by mu: somebody works on them
}

// lateNote is a note that is to become an outcome.
type lateNote struct {
	deed           deed
	claim, outcome string
	end            time.Time
	times          int
}

// noteLater notes an outcome when Redis can be reached. It does so twice: an attempt to
// claim that got no answer may still be on its way.
func (a *API) noteLater(d deed, claim, outcome string) {
	a.later.mu.Lock()
	defer a.later.mu.Unlock()
	if len(a.later.list) >= a.cfg.Remember {
		a.cfg.Logger.Warn("repeating a push will fail or wait, until Redis forgets it: too many wait for Redis", "limit", a.cfg.Remember)
		a.later.list = a.later.list[1:]
	}
	a.later.list = append(a.later.list, &lateNote{d, claim, outcome, time.Now().Add(a.cfg.RememberFor), 2})
	if !a.later.running {
		a.later.running = true
		go a.notes()
	}
}

// notes works on the list until it is empty or the backplane is closed.
func (a *API) notes() {
	for {
		select {
		case <-time.After(lastLook):
		case <-a.hub.Backplane().Done():
			return
		}
		a.later.mu.Lock()
		list := slices.Clone(a.later.list)
		a.later.mu.Unlock()
		for _, n := range list {
			if !a.note(context.Background(), n.deed, n.claim, n.outcome) {
				break // Redis is away for the others, too
			}
			n.times--
		}
		now := time.Now()
		a.later.mu.Lock()
		a.later.list = slices.DeleteFunc(a.later.list, func(n *lateNote) bool { return n.times <= 0 || now.After(n.end) })
		if len(a.later.list) == 0 {
			a.later.running = false
			a.later.mu.Unlock()
			return
		}
		a.later.mu.Unlock()
	}
}
