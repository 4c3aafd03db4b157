package chaos

import (
	"context"
	"sync"
	"time"
)

// away is for how long Redis has no master, or one that does not answer: what Redis owes,
// and not Boreas. It is asked without Boreas's clients.
type away struct {
	mu      sync.Mutex
	since   time.Time     // guarded by mu: zero while all is well
	longest time.Duration // guarded by mu: of the times that are over, since reset
}

const (
	awayPoll    = 50 * time.Millisecond
	awayTimeout = time.Second // for one look
)

// watch looks until ctx ends.
func (a *away) watch(ctx context.Context, b backend) {
	for pause(ctx, awayPoll) {
		start := time.Now()
		led := isLed(ctx, b)
		a.mu.Lock()
		switch {
		case !led && a.since.IsZero():
			a.since = start
		case led && !a.since.IsZero():
			a.longest = max(a.longest, time.Since(a.since))
			a.since = time.Time{}
		}
		a.mu.Unlock()
	}
}

// reset forgets the times that are over.
func (a *away) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.longest = 0
}

// most returns the longest time since reset.
func (a *away) most() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() {
		return a.longest
	}
	return max(a.longest, time.Since(a.since))
}

// isLed reports whether the servers that are named as masters answer as masters.
func isLed(ctx context.Context, b backend) bool {
	ctx, cancel := context.WithTimeout(ctx, awayTimeout)
	defer cancel()
	primaries, err := b.primaries(ctx)
	if err != nil || len(primaries) == 0 {
		return false
	}
	for _, p := range primaries {
		role, err := p.Client().Do(ctx, "role").Slice()
		if err != nil || len(role) == 0 || role[0] != "master" {
			return false
		}
	}
	return true
}
