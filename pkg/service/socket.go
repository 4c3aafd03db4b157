package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// copyAbove is how much of a socket's window may be in use before messages are
// copied out of the batches that they came in. A socket that keeps up saves the
// copy; one that does not must not hold whole batches for a few bytes of each.
const copyAbove = 4 << 10

// The phases of a socket, in this order; each but the last may be skipped.
const (
	open      = iota
	releasing // the gateway was asked to take the socket back
	closing   // the gateway was asked to close the client's connection
	ended     // the handler was told: UseClose runs, once
)

// stream is the part of a *backplane.Stream that a socket uses.
type stream interface {
	Peer() wire.Incarnation
	SendData(ctx context.Context, mt wire.MessageType, id string, payload []byte) error
	SendCredit(n uint32) error
	SendClose(c wire.Close) error
	SendRelease() error
	SendCommand(c wire.Command) error
	SendClosed() error
	Done()
}

var (
	_ stream                  = (*backplane.Stream)(nil)
	_ backplane.StreamHandler = (*socket)(nil)
	_ router.Conn             = (*socket)(nil)
)

// socket is one client's socket on this instance: the router's transport for it
// (router.Conn), and the receiving end of its stream (backplane.StreamHandler).
type socket struct {
	service *Service
	stream  stream
	id      wire.SocketID
	gateway string
	handler router.SocketHandler // set before the first frame

	sending   credit    // what may be sent to the client
	receiving allowance // what the client may send
	commands  commands  // that the gateway has not answered
	arrivals  arrivals  // of the queued messages, if a hook wants to know

	// telling is held while the handler is told of an end, so that it hears of the
	// one that counts first. It is taken before mu.
	telling sync.Mutex

	mu     sync.Mutex
	phase  int
	status wire.CloseCode   // once ended: how
	source wire.CloseSource // once ended: by whom
	lost   bool             // the link to the gateway was reset: nobody hears us
}

// Send implements router.Conn: it blocks for credit and for room on the link.
func (k *socket) Send(ctx context.Context, m router.Outgoing) error {
	cost := len(m.Data) + wire.DataOverhead
	waited, err := k.sending.take(ctx, cost)
	if err != nil {
		return err
	}
	if err := k.stream.SendData(ctx, m.Type, m.ID, m.Data); err != nil {
		if errors.Is(err, link.ErrReset) {
			return router.ErrSocketClosed // Reset is told, or has been
		}
		k.sending.grant(cost)
		return err
	}
	if hook := k.service.cfg.Hooks.MessageSent; hook != nil {
		hook(len(m.Data), waited)
	}
	return nil
}

// Close implements router.Conn: a handler wants the client's connection closed.
// The gateway answers with a Close of its own, which ends the socket.
func (k *socket) Close(status router.Status, reason string) {
	k.askToClose(wire.Close{Status: status, Reason: reason, Source: wire.SourceServer})
	k.sending.end(router.ErrSocketClosed)
}

// Consumed implements router.Conn: the handling of a message starts.
func (k *socket) Consumed(n int) {
	if hook := k.service.cfg.Hooks.MessageStarted; hook != nil {
		if queued, ok := k.arrivals.pop(); ok {
			hook(queued)
		}
	}
	if grant := k.receiving.free(n + wire.DataOverhead); grant > 0 {
		k.grant(grant)
	}
}

func (k *socket) grant(n int) {
	if err := k.stream.SendCredit(uint32(n)); err != nil {
		k.service.log.Debug("credit not sent: the link broke", "socket", k.id, "error", err)
	}
}

// Frame implements backplane.StreamHandler.
func (k *socket) Frame(kind wire.Kind, body []byte) {
	switch kind {
	case wire.KindData:
		d, err := wire.ParseData(body)
		if err != nil {
			k.violation(ViolationFrame, err)
			return
		}
		k.deliver(d)
	case wire.KindCredit:
		c, err := wire.ParseCredit(body)
		if err != nil {
			k.violation(ViolationFrame, err)
			return
		}
		k.sending.grant(int(c.Bytes))
	case wire.KindClose:
		c, err := wire.ParseClose(body)
		if err != nil {
			k.violation(ViolationFrame, err)
			return
		}
		if c.Source == wire.SourceHandoff {
			c.Status, c.Reason, c.Source = wire.CloseRestart, "handed to another instance", wire.SourceServer
		}
		k.endAgain(c)
	case wire.KindIdentity:
		i, err := wire.ParseIdentity(body)
		if err != nil {
			k.violation(ViolationFrame, err)
			return
		}
		i.Claims = bytes.Clone(i.Claims) // the batch that it came in is not to be held
		k.handler.SetIdentity(i)
	case wire.KindCommand:
		k.obeyed(body)
	default:
		k.violation(ViolationFrame, fmt.Errorf("kind %d on an open stream", kind))
	}
}

// deliver queues a client's message.
func (k *socket) deliver(d wire.Data) {
	inUse, ok := k.receiving.spend(d.Cost())
	if !ok {
		k.violation(ViolationCredit, errors.New("more data than was granted"))
		return
	}
	if inUse > copyAbove {
		d.Payload = bytes.Clone(d.Payload)
	}
	hooks := &k.service.cfg.Hooks
	if hooks.MessageStarted != nil {
		k.arrivals.push()
	}
	if hooks.MessageReceived != nil {
		hooks.MessageReceived(len(d.Payload))
	}
	k.handler.Deliver(d.Type, d.Payload)
}

// violation closes the stream of a gateway that does not keep to the protocol.
func (k *socket) violation(v Violation, cause error) {
	c := wire.Close{Status: wire.CloseInternal, Reason: string(v), Source: wire.SourceServer}
	k.askToClose(c)
	if !k.end(c) {
		return // what comes after the end does not matter any more
	}
	k.service.log.Error("stream closed: its gateway broke the protocol",
		"violation", v, "cause", cause, "gateway", k.gateway, "node", k.stream.Peer(), "socket", k.id)
	if hook := k.service.cfg.Hooks.Violation; hook != nil {
		hook(v)
	}
}

// Reset implements backplane.StreamHandler: the gateway is lost. Its answers have
// nowhere to go, so handlers are cancelled even if they were to finish.
func (k *socket) Reset(link.Reset) {
	k.mu.Lock()
	k.lost = true
	k.mu.Unlock()
	k.commands.end()
	k.cut("gateway lost")
}

// depart asks the gateway to end the stream, because this instance stops: to hand
// the socket back, or to close the client's connection once what is under way has
// been answered.
func (k *socket) depart() {
	if k.service.cfg.OnInstanceLoss == registry.PolicyRepin {
		k.ask(releasing, k.stream.SendRelease)
		return
	}
	k.askToClose(wire.Close{Status: wire.CloseRestart, Reason: restartReason, Source: wire.SourceServer, Finish: true})
}

func (k *socket) askToClose(c wire.Close) {
	k.ask(closing, func() error { return k.stream.SendClose(c) })
}

// ask sends a request to end the stream, unless it was sent or is of no use.
func (k *socket) ask(next int, send func() error) {
	k.mu.Lock()
	late := k.phase >= next
	if !late {
		k.phase = next
	}
	k.mu.Unlock()
	if late {
		return
	}
	if err := send(); err != nil {
		// The link broke, so Reset follows and ends the socket.
		k.service.log.Debug("request to end the stream not sent", "socket", k.id, "error", err)
	}
}

// cut ends the socket now: handlers are cancelled.
func (k *socket) cut(reason string) {
	k.endAgain(wire.Close{Status: wire.CloseRestart, Reason: reason, Source: wire.SourceServer})
}

// endAgain ends the socket. If it had ended before, and now nobody waits any more,
// what was left to finish is cancelled.
func (k *socket) endAgain(c wire.Close) {
	if !c.Finish {
		k.sending.end(router.ErrSocketClosed)
	}
	if !k.end(c) && !c.Finish {
		k.handler.End(c.Status, c.Reason, c.Source, false)
	}
}

// end tells the handler that the socket is gone, and finishes the stream when the
// handler is through. Only the first call counts; it reports whether this was it.
func (k *socket) end(c wire.Close) bool {
	k.telling.Lock()
	defer k.telling.Unlock()
	k.mu.Lock()
	if k.phase == ended {
		k.mu.Unlock()
		return false
	}
	k.phase, k.status, k.source = ended, c.Status, c.Source
	k.mu.Unlock()
	if !c.Finish {
		k.sending.end(router.ErrSocketClosed)
	}
	k.handler.End(c.Status, c.Reason, c.Source, c.Finish)
	go k.finish()
	return true
}

// finish waits until the UseClose handlers have run, and forgets the stream.
func (k *socket) finish() {
	<-k.handler.Done()
	k.sending.end(router.ErrSocketClosed)
	k.mu.Lock()
	lost := k.lost
	k.mu.Unlock()
	if !lost {
		if err := k.stream.SendClosed(); err != nil {
			k.service.log.Debug("closed not sent: the link broke", "socket", k.id, "error", err)
		}
	}
	k.stream.Done()
	k.service.remove(k)
	if hook := k.service.cfg.Hooks.SocketClosed; hook != nil {
		hook(k.gateway, k.status, k.source)
	}
}
