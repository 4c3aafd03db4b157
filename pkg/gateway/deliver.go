package gateway

import (
	"fmt"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Frame takes what the instance sends on the stream. It runs in the goroutine that
// receives from that node and never blocks: what it queues is bounded by credit.
func (p *pin) Frame(kind wire.Kind, body []byte) {
	if err := p.frame(kind, body); err != nil {
		p.c.g.log.Error("an instance does not keep to the protocol; does it run another version?",
			"service", p.service, "instance", p.peer, "err", err)
		p.lost("it broke the protocol")
	}
}

func (p *pin) frame(kind wire.Kind, body []byte) error {
	switch kind {
	case wire.KindData:
		d, err := wire.ParseData(body)
		if err != nil {
			return err
		}
		p.deliver(d)
	case wire.KindCredit:
		credit, err := wire.ParseCredit(body)
		if err != nil {
			return err
		}
		p.credited(int(credit.Bytes))
	case wire.KindClose:
		msg, err := wire.ParseClose(body)
		if err != nil {
			return err
		}
		e := causeService.endingWith(msg.Status, msg.Reason)
		if msg.Finish {
			p.c.finish(e)
		} else {
			p.c.end(e)
		}
	case wire.KindCommand:
		return p.command(body)
	case wire.KindClosed:
		p.closed()
	case wire.KindRelease:
		p.released()
	case wire.KindRefuse:
		msg, err := wire.ParseRefuse(body)
		if err != nil {
			return err
		}
		p.lost("it refused: " + msg.Reason)
	default:
		return fmt.Errorf("unexpected frame kind %d", kind)
	}
	return nil
}

// Reset tells that the link to the instance broke.
func (p *pin) Reset(r link.Reset) { p.lost("the link was reset: " + r.Cause.String()) }

// deliver queues a message for the client. The bytes are copied: a client that
// reads slowly must not hold the batch that they came in.
func (p *pin) deliver(d wire.Data) {
	c := p.c
	var answers []byte
	if p.policy == registry.PolicyRepin || c.g.cfg.MaxInFlight > 0 {
		if head, err := c.encoding.Peek(d.Payload); err == nil {
			answers = head.ID
		}
	}
	c.mu.Lock()
	var due []closeOrder
	switch {
	case p.state == pinGone || c.state >= connClosing:
		c.g.hooks.Dropped(1)
	case p.queued+p.flushing+p.ungranted >= c.g.cfg.ReplyWindow:
		c.g.log.Error("an instance sends more than its credit", "service", p.service, "instance", p.peer)
		due = c.endLocked(causeOverrun.ending())
	default:
		if len(answers) > 0 {
			p.inFlight.remove(answers)
			c.answered(answers)
		}
		if d.ID != "" {
			c.note([]byte(d.ID), p.service)
		}
		p.queued += d.Cost()
		c.queueFrame(final|byte(d.Type), d.Payload)
		c.out.messages++
		if c.timing.waitsFor(c.encoding, d.Payload) {
			if reply := c.timing.answered(); c.out.timed.observe == nil {
				c.out.timed = reply
			}
		}
		c.startWriter()
	}
	c.mu.Unlock()
	closeStreams(due)
}

// written accounts for the end of a write and the begin of the next: what was
// being written is the client's, what was queued is being written. It returns the
// credit that is due to the instance, once that is worth a frame. c.mu is held.
func (p *pin) written() (grant, bool) {
	p.ungranted += p.flushing
	p.flushing, p.queued = p.queued, 0
	if p.ungranted < p.c.g.cfg.ReplyWindow/2 || p.state == pinClosing && !p.finish {
		return grant{}, false
	}
	g := grant{p.stream, p.ungranted}
	p.ungranted = 0
	return g, true
}

// credited allows n bytes more to be sent to the instance.
func (p *pin) credited(n int) {
	c := p.c
	c.mu.Lock()
	p.credit += n
	if p.credit > 0 {
		c.changed.Broadcast()
	}
	c.mu.Unlock()
}

// closed ends the pin: the instance has run its close handlers.
func (p *pin) closed() {
	c := p.c
	c.mu.Lock()
	var due []closeOrder
	switch p.state {
	case pinOpen:
		due = p.lostLocked("it ended the stream unasked", unpinLost)
	case pinReturning:
		p.remove(unpinHandoff)
		due = c.endIfFinished()
	case pinClosing:
		p.remove(unpinClosed)
		due = c.endIfFinished()
	}
	c.mu.Unlock()
	closeStreams(due)
}

// released hands the socket back: the instance is going to stop. Nothing more is
// sent on the stream; when its end is confirmed, the next message makes a new pin.
func (p *pin) released() {
	c := p.c
	c.mu.Lock()
	var due []closeOrder
	if p.state == pinOpen {
		due = p.close(wire.Close{Status: wire.CloseRestart, Reason: "handoff", Source: wire.SourceHandoff, Finish: true})
	}
	c.mu.Unlock()
	closeStreams(due)
}
