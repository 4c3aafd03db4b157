package gateway

import (
	"context"
	"math/rand/v2"
	"time"
)

// Drain empties the gateway: it takes no more clients, turns unready, and closes
// its sockets with 1012 and the reason "drain", spread over Config.DrainWindow in
// random order. Each socket works as usual until its time comes; then its messages
// are no longer taken, its services finish what they have, and their answers
// are delivered before the close frame.
//
// Drain returns nil when all sockets are closed and unpinned and Run has returned.
// If ctx ends earlier, the remaining sockets are closed at once and Drain returns
// ctx's error. A second call waits for the first.
func (g *Gateway) Drain(ctx context.Context) error {
	first, run := g.beginDrain()
	if !run {
		return nil
	}
	if !first {
		select {
		case <-g.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	start := time.Now()
	g.log.Info("gateway drains", "sockets", g.SocketCount())
	err := g.drain(ctx)
	g.drained(time.Since(start))
	g.cancel()
	<-g.over
	return err
}

// beginDrain stops the gateway from taking clients. first is false if it is
// draining already; run is false if there is nothing to drain.
func (g *Gateway) beginDrain() (first, run bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case created, stopped:
		return false, false
	case joining, running:
		g.state = draining
		return true, true
	default:
		return false, true
	}
}

// drained tells how a drain went. Messages that a client sent to an instance which then
// did not confirm the end of the socket may not have been handled.
func (g *Gateway) drained(took time.Duration) {
	g.mu.Lock()
	abandoned := g.abandoned
	g.mu.Unlock()
	if abandoned > 0 {
		g.log.Warn("the drain is over, but instances were lost meanwhile: messages may not have been handled", "took", took, "pins", abandoned)
		return
	}
	g.log.Info("the drain is over", "took", took)
}

// drain closes all sockets in the course of the drain window and waits for their
// end.
func (g *Gateway) drain(ctx context.Context) error {
	conns := g.connections()
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	start, window := time.Now(), g.drainWindow(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		at := start.Add(window * time.Duration(i) / time.Duration(len(conns)))
		if wait := time.Until(at); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-g.over:
				return nil
			case <-ctx.Done():
				return g.hurry(ctx)
			}
		}
		c.finish(causeDrain.ending())
	}
	select {
	case <-g.whenQuiet():
		return nil
	case <-g.over:
		return nil
	case <-ctx.Done():
		return g.hurry(ctx)
	}
}

// hurry ends a drain whose context has ended.
func (g *Gateway) hurry(ctx context.Context) error {
	g.log.Warn("the drain did not end in time; closing what is left", "sockets", g.SocketCount())
	g.mu.Lock()
	if g.state == draining {
		g.state = stopping
	}
	g.mu.Unlock()
	g.endAll(causeDrain)
	return ctx.Err()
}

// drainWindow is the time over which sockets are closed: three quarters of what ctx
// leaves at most, so that the last ones can finish.
func (g *Gateway) drainWindow(ctx context.Context) time.Duration {
	window := max(g.cfg.DrainWindow, 0)
	if deadline, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(deadline)*3/4)
	}
	return max(window, 0)
}
