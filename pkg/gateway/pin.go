package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// pinState is how far a pin has come.
type pinState uint8

const (
	pinOpen      pinState = iota
	pinReturning          // the instance hands the socket back: Closed will follow, then a new pin
	pinClosing            // the socket ends: Closed will follow
	pinGone               // the pin is removed
)

// pin binds a socket to one instance of a service, by a stream to it. It is the
// stream's handler (see deliver.go).
type pin struct {
	// immutable
	c       *conn
	service string
	policy  registry.Policy
	peer    wire.Incarnation

	// guarded by c.mu
	stream   *backplane.Stream // set once, before any frame is sent
	state    pinState
	finish   bool             // of the Close that was sent
	closeDue *wire.Close      // to be sent by the read loop, after the message that it is sending
	credit   int              // what may be sent to the instance, in bytes
	inFlight recent[struct{}] // ids without an answer; only with policy repin

	// What the instance sent, in cost, on its way to the client: queued, in the
	// write that is under way, and written but not granted again.
	queued, flushing, ungranted int
}

// closeOrder is a Close that is to be sent when conn.mu is released.
type closeOrder struct {
	p   *pin
	msg wire.Close
}

func closeStreams(due []closeOrder) {
	for _, o := range due {
		if o.p.stream.SendClose(o.msg) != nil {
			o.p.lost("the link is down")
		}
	}
}

// grant is credit that is to be sent when conn.mu is released.
type grant struct {
	stream *backplane.Stream
	bytes  int
}

func (g grant) send() { _ = g.stream.SendCredit(uint32(g.bytes)) } // on an error, a reset follows

// pinOf returns the socket's pin in a service, nil if it has none. mu is held.
func (c *conn) pinOf(service string) *pin {
	for _, p := range c.pins {
		if p.service == service {
			return p
		}
	}
	return nil
}

// maxPinTries is how many instances are tried for one message: one that is found
// dead only when it is spoken to does not fail the message.
const maxPinTries = 3

// retryUnavailable is the advice to a client whose message found no instance.
const retryUnavailable = time.Second

var errInstanceGone = errors.New("the instance was gone before the socket was opened on it")

// bind pins the socket to an instance of a service and opens the stream to it.
// Only the read loop calls it, and waits.
//
// The work is done by another goroutine because it needs a deeper stack than any
// message after it: the stack of the read loop, of which there is one for each
// socket, would grow and could not shrink again.
func (c *conn) bind(to *target) error {
	c.held.Store(true)
	done := make(chan error)
	go func() { done <- c.search(to) }()
	err := <-done
	c.held.Store(false)
	c.alive()
	return err
}

// search tries instances until the socket is bound to one.
func (c *conn) search(to *target) error {
	start := time.Now()
	// Not derived from c.ctx, which would keep memory for its former children.
	ctx, cancel := context.WithTimeout(context.Background(), c.g.cfg.PinTimeout)
	defer cancel()
	c.setSearching(cancel)
	defer c.setSearching(nil)
	c.awaitUser(ctx)
	var err error
	for range maxPinTries {
		if err = c.bindOnce(ctx, to); !errors.Is(err, errInstanceGone) {
			break
		}
	}
	c.g.hooks.Pinned(to.service, time.Since(start), err)
	return err
}

// setSearching lets the end of the connection call cancel.
func (c *conn) setSearching(cancel context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.searching = cancel
	if cancel != nil && c.state >= connClosing {
		cancel()
	}
}

func (c *conn) bindOnce(ctx context.Context, to *target) error {
	peer, err := c.g.registry.Pin(ctx, to.service, c.id)
	if err != nil {
		return err // and nothing is pinned
	}
	p := &pin{c: c, service: to.service, policy: to.policy, peer: peer, credit: wire.DefaultWindow}
	p.inFlight.limit = c.g.cfg.MaxConversations
	c.mu.Lock()
	p.stream = c.g.bp.OpenStream(peer, p)
	c.mu.Unlock()
	err = p.stream.SendOpen(ctx, c.openFrame(to.service))

	var due []closeOrder
	defer func() { closeStreams(due) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.state == pinGone:
		return errInstanceGone
	case err != nil:
		p.remove(unpinLost)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errInstanceGone
	}
	c.pins = append(c.pins, p)
	if c.first == "" {
		c.first = to.service
	} else if c.first != to.service {
		c.several = true
	}
	if c.state != connOpen {
		// It ended meanwhile, when closePins did not see this pin.
		due = p.close(c.closeFrame())
	}
	return nil
}

// openFrame describes the client to an instance.
func (c *conn) openFrame(service string) wire.Open {
	return wire.Open{
		Service:     service,
		Socket:      c.id,
		Gateway:     c.g.name,
		RemoteAddr:  c.client.remoteAddr,
		Path:        c.client.path,
		Query:       c.client.query,
		Subprotocol: c.client.subprotocol,
		Encoding:    byte(c.encoding),
		Credit:      uint32(c.g.cfg.ReplyWindow),
		Identity:    c.client.who().Append(nil),
		Headers:     c.client.headers,
	}
}

// closeFrame tells instances how the connection ends. mu is held.
func (c *conn) closeFrame() wire.Close {
	return wire.Close{
		Status: c.ending.status,
		Reason: c.ending.reason,
		Source: c.ending.source,
		Finish: c.state == connFinishing,
	}
}

// closePins closes all streams. One that was closed before in order to finish is
// closed again if it is not to finish any more. What is to be sent when mu, which
// is held, is released is returned.
func (c *conn) closePins(msg wire.Close) (due []closeOrder) {
	for _, p := range c.pins {
		switch {
		case p.state == pinOpen:
			due = append(due, p.close(msg)...)
		case p.finish && !msg.Finish:
			p.finish = false
			due = append(due, p.tell(msg)...)
		}
	}
	return due
}

// close begins the end of an open pin. c.mu is held.
func (p *pin) close(msg wire.Close) (due []closeOrder) {
	p.state, p.finish = pinClosing, msg.Finish
	if msg.Source == wire.SourceHandoff {
		p.state = pinReturning
	}
	p.c.g.await(p)
	return p.tell(msg)
}

// tell has a Close sent: by the caller, or if the read loop is just sending a
// message on the stream, by the read loop after it. c.mu is held.
func (p *pin) tell(msg wire.Close) []closeOrder {
	if p.c.sending == p {
		p.closeDue = &msg
		return nil
	}
	return []closeOrder{{p, msg}}
}

// The reasons for which a pin is removed.
const (
	unpinClosed  = "closed"  // the socket ended
	unpinHandoff = "handoff" // the instance handed it back
	unpinLost    = "lost"    // the instance is gone
	unpinTimeout = "timeout" // the instance did not confirm the end of the socket in time
)

// remove takes the pin out of the registry and out of its connection. c.mu is
// held: whoever sees that the socket has no pin may ask for a new one, and the
// registry keeps the order.
func (p *pin) remove(reason string) {
	c := p.c
	p.state = pinGone
	c.pins = slices.DeleteFunc(c.pins, func(q *pin) bool { return q == p })
	p.stream.Done()
	c.g.registry.Unpin(p.service, c.id)
	c.g.settle(p, reason)
	c.g.hooks.Unpinned(p.service, reason)
	c.changed.Broadcast()
}

// lost ends a pin whose instance cannot be reached any more. What becomes of the
// socket is the service's policy.
func (p *pin) lost(why string) {
	c := p.c
	c.mu.Lock()
	due := p.lostLocked(why, unpinLost)
	c.mu.Unlock()
	closeStreams(due)
}

func (p *pin) lostLocked(why, reason string) (due []closeOrder) {
	c := p.c
	closing := p.state == pinClosing
	opened := slices.Contains(c.pins, p)
	if p.state == pinGone {
		return nil
	}
	p.remove(reason)
	switch {
	case closing || !opened || c.state >= connClosing:
		// There is nobody to tell, or bind tries again.
	case p.policy == registry.PolicyRepin:
		p.reportInFlight()
	default:
		c.g.log.Debug("closing a socket because its instance is gone",
			"socket", c.id, "service", p.service, "instance", p.peer, "why", why)
		return c.endLocked(causeInstanceLost.ending())
	}
	return c.endIfFinished()
}

// reportInFlight tells the client which requests will not be answered. c.mu is
// held.
func (p *pin) reportInFlight() {
	c := p.c
	p.inFlight.takeAll(func(id string) {
		c.abandoned(id)
		msg := c.encoding.AppendError(nil, id, envelope.Failure{
			Code: wire.CodeInstanceLost, Message: "the instance that handled this is gone; it may have been done or not"})
		c.queueFrame(final|byte(c.encoding.MessageType()), msg)
	})
	c.startWriter()
}

// expire gives up waiting for the instance to confirm the end of the stream. What
// it still does for the socket is to end.
func (p *pin) expire() {
	c := p.c
	c.mu.Lock()
	var due []closeOrder
	if p.finish && p.state != pinGone {
		p.finish = false
		due = p.tell(wire.Close{Status: wire.CloseRestart, Reason: "it took too long", Source: wire.SourceServer})
	}
	switch p.state {
	case pinReturning:
		due = append(due, p.lostLocked("it did not hand the socket back in time", unpinTimeout)...)
	case pinClosing:
		p.remove(unpinTimeout)
		due = append(due, c.endIfFinished()...)
	}
	c.mu.Unlock()
	closeStreams(due)
}
