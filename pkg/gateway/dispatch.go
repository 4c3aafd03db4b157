package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// dispatch sends a message on to the service that handles it, or answers it with
// an error. It blocks while the service gives no credit, and with it the reading
// from this client. It returns an ending if the message is a reason to close the
// connection.
func (c *conn) dispatch(msg []byte) ending {
	over := c.overRate(len(msg))
	head, err := c.encoding.Peek(msg)
	if errors.Is(err, envelope.ErrUTF8) {
		return causeInvalidUTF8.ending()
	}
	if over != nil {
		return c.refuse(head.ID, over)
	}
	if err != nil {
		return c.refuse(head.ID, &envelope.Failure{Code: wire.CodeBadMessage, Message: err.Error()})
	}
	if isReserved(head.Path) {
		return c.reserved(head)
	}
	to, no := c.route(head)
	if no == nil {
		c.time(to, head.ID)
		no = c.admit(to, head, msg)
	}
	if no != nil {
		c.untime(head.ID)
		return c.refuse(head.ID, no)
	}
	if c.limits != nil {
		c.limits.passed++
	}
	return ending{}
}

// admit sends a message to its service if it is within the limits.
func (c *conn) admit(to *target, head envelope.Head, msg []byte) *envelope.Failure {
	if to.rules != nil {
		if no := c.checkRules(to.rules, head, len(msg)); no != nil {
			return no
		}
	}
	if c.g.cfg.MaxInFlight <= 0 {
		return c.send(to, head.ID, msg)
	}
	if no := c.begin(head); no != nil {
		return no
	}
	no := c.send(to, head.ID, msg)
	if no != nil {
		c.mu.Lock()
		c.answered(head.ID)
		c.mu.Unlock()
	}
	return no
}

// route finds the service that handles a message.
func (c *conn) route(head envelope.Head) (*target, *envelope.Failure) {
	table := c.g.routes.Load()
	if len(head.Path) > 0 {
		if err := checkPath(head.Path); err != nil {
			return nil, &envelope.Failure{Code: wire.CodeBadPath, Message: err.Error()}
		}
		if to := table.lookup(head.Path); to != nil {
			return to, nil
		}
		return nil, &envelope.Failure{Code: wire.CodeNoRoute, Message: fmt.Sprintf("no service handles %s", head.Path)}
	}
	if len(head.ID) == 0 {
		return nil, &envelope.Failure{Code: wire.CodeNoPath, Message: "the message has neither a path nor an id"}
	}
	service := c.lastUsed(head.ID)
	if service == "" {
		return nil, &envelope.Failure{Code: wire.CodeNoPath, Message: "the message has no path, and its id was not used before"}
	}
	if to := table.services[service]; to != nil {
		return to, nil
	}
	return nil, &envelope.Failure{Code: wire.CodeNoRoute, Message: "the service that used this id is gone"}
}

// send sends a message to the socket's instance of a service, after having pinned
// the socket if need be.
func (c *conn) send(to *target, id, msg []byte) *envelope.Failure {
	for binds := 0; ; {
		p, waited := c.acquire(to.service, id, len(msg)+wire.DataOverhead)
		if waited > 0 {
			c.g.hooks.Throttled(to.service, waited)
		}
		if p == nil {
			if c.over.Load() {
				return nil
			}
			if binds++; binds > maxPinTries {
				return &envelope.Failure{Code: wire.CodeUnavailable, Message: "no instance of " + to.service + " could be reached", RetryAfter: retryUnavailable}
			}
			if err := c.bind(to); err != nil {
				return c.unbound(to, err)
			}
			continue
		}
		err := p.stream.SendData(c.ctx, c.encoding.MessageType(), "", msg)
		if c.sent(p, id, err) {
			if err == nil {
				c.count(to.service, len(msg))
			}
			return nil
		}
	}
}

// unbound says why a socket has no instance.
func (c *conn) unbound(to *target, err error) *envelope.Failure {
	if c.over.Load() {
		return nil
	}
	if !errors.Is(err, registry.ErrNoInstance) {
		c.g.log.Warn("a socket could not be pinned", "socket", c.id, "service", to.service, "err", err)
	}
	return &envelope.Failure{Code: wire.CodeUnavailable, Message: "no instance of " + to.service + " is available", RetryAfter: retryUnavailable}
}

// acquire takes the credit for one message, and waits for it if need be. It
// returns nil if the socket has no pin in the service, or is ending, and how long
// it waited.
func (c *conn) acquire(service string, id []byte, cost int) (_ *pin, waited time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == connOpen {
		p := c.pinOf(service)
		if p == nil {
			break
		}
		if p.state == pinOpen && p.credit > 0 {
			p.credit -= cost
			c.sending = p
			c.track(p, id)
			return p, waited
		}
		start := time.Now()
		c.wait()
		waited += time.Since(start)
	}
	return nil, waited
}

// track remembers the id of a message that is about to be sent on p. mu is held.
func (c *conn) track(p *pin, id []byte) {
	if len(id) == 0 {
		return
	}
	c.note(id, p.service)
	if p.policy == registry.PolicyRepin {
		p.inFlight.put(id, struct{}{})
	}
}

// sent accounts for an attempt to send on p. It reports whether the message is
// settled: false means that it may be tried again on another instance.
func (c *conn) sent(p *pin, id []byte, err error) bool {
	c.mu.Lock()
	c.sending = nil
	closeDue := p.closeDue
	p.closeDue = nil
	settled := err == nil || c.state != connOpen
	if !settled {
		// The link took nothing. If the loss of the pin was noticed before, the
		// client has been told that this request is lost, and it must not be done.
		tracked := len(id) > 0 && p.policy == registry.PolicyRepin
		if p.state != pinGone {
			p.inFlight.remove(id)
		} else if tracked {
			settled = true
		}
	}
	c.mu.Unlock()
	if closeDue != nil {
		closeStreams([]closeOrder{{p, *closeDue}})
	}
	if err != nil && c.ctx.Err() == nil {
		p.lost(err.Error())
	}
	return settled
}

// refuse answers a message with an error. It returns an ending if there have been
// too many such messages.
func (c *conn) refuse(id []byte, f *envelope.Failure) ending {
	c.g.hooks.Rejected(f.Code)
	c.answer(c.encoding.AppendError(nil, string(id), *f))
	if f.Code == wire.CodeRateLimited {
		return c.abuse()
	}
	return ending{}
}

// note remembers which service used an id last. mu is held.
func (c *conn) note(id []byte, service string) {
	if c.several {
		c.ids.put(id, service)
	}
}

// lastUsed returns the service that a message without a path goes to: the one that
// used its id last, "" if the socket has used none. Ids are only remembered once a
// socket uses a second service, so unknown ones belong to the first.
func (c *conn) lastUsed(id []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if service, ok := c.ids.get(id); ok {
		return service
	}
	return c.first
}
