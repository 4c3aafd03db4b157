package redisbus

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// The waits between attempts to reach Redis double from minBackoff to maxBackoff,
// and each is cut by up to a half at random, so that nodes do not retry in step.
const (
	minBackoff = 10 * time.Millisecond
	maxBackoff = 200 * time.Millisecond
)

// backoff waits before the attempt that follows the given number of failures. It
// reports false when ctx ended.
func backoff(ctx context.Context, failures int) bool {
	d := min(maxBackoff, minBackoff<<min(failures, 8))
	t := time.NewTimer(d - rand.N(d/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// boundConn is a connection that is closed when a context ends, which interrupts
// reads and writes that go-redis would wait for. It hides the connection's file
// from go-redis, which therefore does not peek at it before every pipeline.
type boundConn struct {
	net.Conn
	stop func() bool
}

// Close implements [net.Conn].
func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// bound returns a dialer whose attempts and connections end with ctx.
func bound(ctx context.Context, dial dialer) dialer {
	return func(attempt context.Context, network, addr string) (net.Conn, error) {
		attempt, cancel := context.WithCancelCause(attempt)
		stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		c, err := dial(attempt, network, addr)
		stop()
		cancel(nil)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: c, stop: context.AfterFunc(ctx, func() { _ = c.Close() })}, nil
	}
}
