package gateway

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// connState is how far a connection has come.
type connState uint8

const (
	connOpen      connState = iota
	connFinishing           // the gateway drains: messages are discarded, answers still go out
	connClosing             // the close frame is queued; nothing is sent after it
	connGone                // the connection is closed
)

// conn is one client's connection. Its read loop is its only goroutine while
// nothing is sent; a writer runs only while there is something to write.
type conn struct {
	// immutable
	g        *Gateway
	id       wire.SocketID
	nc       net.Conn
	encoding envelope.Encoding
	client   *client
	opened   time.Time
	ctx      context.Context
	cancel   context.CancelFunc // ends waits for links
	write    func()             // c.writeLoop, bound once

	seen atomic.Uint32 // the step of the wheel at which a byte came last
	held atomic.Bool   // the read loop waits for something other than the client
	over atomic.Bool   // state is past connOpen: messages are discarded

	wheel  wheelLinks
	warned *wire.Identity // that the client was told will expire; owned by the wheel

	limits *limiter // nil while nothing is limited; set by the read loop

	// owned by the read loop
	in         frameReader
	sampler    sampler       // of requests that are timed
	tally      tally         // of messages that no hook was told of yet
	armed      bool          // the read deadline of a message is set
	controlDue time.Duration // after opened: when the control frames that came would have been due

	mu      sync.Mutex
	changed sync.Cond // of anything below that somebody waits for

	// guarded by mu
	state     connState
	ending    ending             // from connClosing on; in connFinishing what it will be
	closeBy   time.Time          // from connClosing on
	pins      []*pin             // those that carry messages or wait for their end
	sending   *pin               // the read loop is about to send on it
	first     string             // the first service that the socket used
	several   bool               // it has used others as well
	searching context.CancelFunc // ends the search for an instance; nil when there is none
	ids       recent[string]

	timing    *timing      // nil until a request was timed
	member    *push.Member // the user and groups it belongs to; nil before there is any
	userShown push.Shown   // when pushes to the user reach it; nil without a user

	pushes  *line   // pushes that are not written; nil before the first
	out     *outbox // what the writer takes next; nil when empty
	writing bool    // a writer runs
	broken  bool    // writing has failed
}

// run reads until the connection ends, and then ends it.
func (c *conn) run() {
	e := c.readGuarded()
	c.end(e)
	c.hangUp(e.source == wire.SourceServer)
	c.g.remove(c)
}

// end begins the end of the connection: streams are closed, the close frame is
// queued behind what is there, and what the client still sends is discarded. Only
// the first call counts. It does not block.
func (c *conn) end(e ending) {
	c.mu.Lock()
	due := c.endLocked(e)
	c.mu.Unlock()
	closeStreams(due)
}

// endLocked is end with mu held. The caller passes the result to closeStreams when
// it has released mu.
func (c *conn) endLocked(e ending) (due []closeOrder) {
	closeBy := time.Now().Add(c.g.closeTimeout())
	switch {
	case c.state == connClosing && closeBy.Before(c.closeBy): // the gateway stops meanwhile
		c.closeBy = closeBy
		_ = c.nc.SetDeadline(closeBy) // fails only on a closed connection
		return nil
	case c.state >= connClosing:
		return nil
	}
	c.state, c.ending, c.closeBy = connClosing, e, closeBy
	c.over.Store(true)
	c.dropPushes()
	due = c.closePins(wire.Close{Status: e.status, Reason: e.reason, Source: e.source})
	_ = c.nc.SetDeadline(c.closeBy) // fails only on a closed connection
	if e.sendsFrame() {
		c.queueClose(e)
	} else {
		_ = c.nc.Close() // frees the read loop
	}
	c.cancel()
	if c.searching != nil {
		c.searching()
	}
	c.changed.Broadcast()
	return due
}

// finish begins the end of the connection during a drain: its streams are closed
// such that answers still arrive, and with the last stream the connection is.
func (c *conn) finish(e ending) {
	c.mu.Lock()
	if c.state != connOpen {
		c.mu.Unlock()
		return
	}
	c.state, c.ending = connFinishing, e
	c.over.Store(true)
	due := c.closePins(wire.Close{Status: e.status, Reason: e.reason, Source: e.source, Finish: true})
	due = append(due, c.endIfFinished()...)
	c.changed.Broadcast()
	c.mu.Unlock()
	closeStreams(due)
}

// endIfFinished ends a finishing connection that has no stream left. mu is held.
func (c *conn) endIfFinished() []closeOrder {
	if c.state != connFinishing || len(c.pins) > 0 {
		return nil
	}
	return c.endLocked(c.ending)
}

// hangUp waits until the close frame is written, and closes the connection. The
// read loop calls it at its end. With linger, it was not the client that ended the
// reading, so it is given time to take the close frame.
func (c *conn) hangUp(linger bool) {
	c.mu.Lock()
	for c.writing {
		c.changed.Wait() // ends by the write deadline, which is closeBy
	}
	linger = linger && !c.broken
	c.mu.Unlock()
	if linger {
		// Closing while bytes are unread would reset the connection, and the reset
		// could overtake the close frame.
		if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c.nc)
		}
	}
	_ = c.nc.Close()
	c.mu.Lock()
	c.state = connGone
	c.dropOut()
	c.mu.Unlock()
}

// beat looks after the connection once in a while; the wheel calls it. It returns
// after how many steps it wants to be called again.
func (c *conn) beat(now ticks) ticks {
	timeout, interval := c.g.peerTicks, c.g.pingTicks
	silent := now - ticks(c.seen.Load())
	if c.held.Load() {
		silent = 0
	}
	if timeout > 0 && silent >= timeout {
		c.end(causePeerTimeout.ending())
		return wheelSlots
	}
	next, expired := c.watchExpiry()
	if expired {
		c.end(causeExpired.ending())
		return wheelSlots
	}
	if interval > 0 {
		c.ping()
		next = min(next, jitter(interval))
	}
	if timeout > 0 {
		next = min(next, timeout-silent)
	}
	return next
}

// wait blocks the read loop until changed; mu is held. The client is not taken for
// dead meanwhile.
func (c *conn) wait() {
	c.held.Store(true)
	c.changed.Wait()
	c.held.Store(false)
	c.alive()
}

// alive notes that the client cannot be blamed for silence up to now.
func (c *conn) alive() {
	c.seen.Store(uint32(c.g.wheel.time()))
	if c.limits != nil {
		c.limits.stale = true
	}
}
