package load

import (
	"context"
	"time"
)

// request sends messages until ctx ends: each as soon as there is room in the
// window, or at this connection's share of Config.Rate. It is the i-th of n.
func (c *client) request(ctx context.Context, begin time.Time, i, n int) {
	due := begin
	var interval time.Duration
	if rate := c.run.cfg.Rate; rate > 0 {
		interval = time.Duration(float64(n) / rate * float64(time.Second))
		due = begin.Add(interval * time.Duration(i) / time.Duration(n))
	}
	for {
		if interval > 0 && !sleepUntil(ctx, due) {
			return
		}
		select {
		case <-c.slots:
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
		if interval == 0 {
			due = time.Now()
		}
		if c.send(c.run.cfg.Path, due) != nil {
			return // the reader counts how the connection ended
		}
		due = due.Add(interval)
	}
}

// publish sends messages to the group until ctx ends.
func (c *client) publish(ctx context.Context, begin time.Time) {
	interval := time.Duration(float64(time.Second) / c.run.cfg.Rate)
	for due := begin; sleepUntil(ctx, due); due = due.Add(interval) {
		if c.send(PathPublish, due) != nil {
			return
		}
	}
}

// reportEvery tells the gateway about latencies until ctx ends.
func (c *client) reportEvery(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.report() != nil {
				return
			}
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
}
