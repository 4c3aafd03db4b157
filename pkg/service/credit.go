package service

import (
	"context"
	"sync"
	"time"
)

// credit is what a stream may still send, in bytes: the gateway grants it as the
// client takes what was sent before. Sending is allowed while it is positive, so
// one message of any size always fits. Safe for concurrent use.
type credit struct {
	mu   sync.Mutex
	left int64
	err  error         // why nothing may be sent any more
	more chan struct{} // closed when waiters should look again; nil while nobody waits
}

// take waits until sending is allowed and takes cost off. It returns how long it
// waited, and fails when ctx or the stream ends.
func (c *credit) take(ctx context.Context, cost int) (waited time.Duration, err error) {
	var start time.Time // of the wait
	for {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return 0, c.err
		}
		if c.left > 0 {
			c.left -= int64(cost)
			c.mu.Unlock()
			if !start.IsZero() {
				waited = time.Since(start)
			}
			return waited, nil
		}
		if c.more == nil {
			c.more = make(chan struct{})
		}
		more := c.more
		c.mu.Unlock()
		if start.IsZero() {
			start = time.Now()
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// grant adds n bytes.
func (c *credit) grant(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left += int64(n)
	if c.left > 0 {
		c.wake()
	}
}

// end makes every take fail with err.
func (c *credit) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.wake()
}

func (c *credit) wake() {
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// allowance is what the gateway may still send on a stream, in bytes. Safe for
// concurrent use.
type allowance struct {
	mu     sync.Mutex
	left   int64 // granted and not yet used
	freed  int64 // handled and not yet granted again
	window int64
}

// start sets the allowance of a new stream, on which the gateway starts with
// initial bytes, and returns what to grant right away for the window to be whole.
// A smaller window keeps back the first bytes that are freed.
func (a *allowance) start(initial, window int) int {
	a.left, a.window = int64(initial), int64(window)
	a.freed = a.window - a.left
	return a.regrant()
}

// spend takes the cost of a received message off, and returns how much of the
// window is in use. It reports false if the message should not have been sent.
func (a *allowance) spend(cost int) (inUse int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left <= 0 {
		return 0, false
	}
	a.left -= int64(cost)
	return int(a.window - a.left - a.freed), true
}

// free takes back the cost of a message that left the queue, and returns what to
// grant now: zero, or at least half a window, so that grants are few.
func (a *allowance) free(cost int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.freed += int64(cost)
	if a.freed < a.window/2 {
		return 0
	}
	return a.regrant()
}

func (a *allowance) regrant() int {
	n := max(a.freed, 0)
	a.freed -= n
	a.left += n
	return int(n)
}
