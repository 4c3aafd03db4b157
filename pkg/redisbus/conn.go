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
	stop func() bool // keeps the context from closing it; false if it has
}

// Close implements [net.Conn].
func (c *boundConn) Close() error {
	if !c.stop() {
		return nil // closed already
	}
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

// softly returns a dialer that reports a failure by a connection on which nothing
// works. When a dialer fails, a go-redis pool writes to stderr, and after a few times
// does not try again for up to a second, with a goroutine that outlives the client.
func softly(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return failedConn{err: unwrapped{err}}, nil //nolint:nilerr // the connection reports it
		}
		return c, nil
	}
}

// unwrapped is an error of which go-redis, when a new connection fails, reports the
// inner one: without this layer it would be our error's own inner one.
type unwrapped struct{ error }

func (e unwrapped) Unwrap() error { return e.error }

// failedConn is a connection that could not be made.
type failedConn struct{ err error }

func (c failedConn) Read([]byte) (int, error)       { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)      { return 0, c.err }
func (failedConn) Close() error                     { return nil }
func (failedConn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (failedConn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (failedConn) SetDeadline(time.Time) error      { return nil }
func (failedConn) SetReadDeadline(time.Time) error  { return nil }
func (failedConn) SetWriteDeadline(time.Time) error { return nil }
