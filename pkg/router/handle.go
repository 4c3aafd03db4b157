package router

import (
	"log/slog"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// handle runs the handlers of one message, or those of UseOpen.
func (w *worker) handle(m queued) {
	s := w.socket
	if m.opening {
		w.open()
		return
	}
	c := s.newRun(publicNode, *s.router.chain.Load(), w)
	w.at = c
	f := c.f
	f.run.turn = w.turn
	f.message.RawData, f.messageType = m.data, m.messageType
	c.Next()
	s.finish(c)
	w.at = nil
}

func (w *worker) open() {
	s := w.socket
	c := s.newRun(openNode, *s.router.opens.Load(), w)
	w.at = c
	c.Next()
	s.finish(c)
	w.at = nil
}

// finish ends a run.
func (s *socket) finish(c *Context) {
	f := c.detach()
	s.settleError(f, c.Error, c.ErrorStack)
	kind, conv := f.kind, f.run.conversation
	f.recycle(true)
	if conv == nil && kind != openNode {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == openNode {
		s.opened = true
	}
	if conv != nil {
		s.endConversation(conv) // this worker sees to what that leaves
	}
}

// settleError tells the client what went wrong with its message, unless a handler
// has done so.
func (s *socket) settleError(f *frame, err error, stack string) {
	r := f.run
	switch {
	case s.stopping.Load():
		return
	case err != nil && (r.sends == 0 || r.sends == r.sendsBefore):
		if explain(err).Code == wire.CodeInternal && stack == "" {
			s.config.logger().Error("a handler failed", slog.String("socket", s.info.ID),
				slog.String("path", f.message.Path), slog.Any("error", err))
		}
	case err == nil && r.sends == 0 && !r.bound && (f.ended || r.refused) && f.kind == publicNode && r.answerTo == nil:
		err = s.unrouted(f)
	default:
		return
	}
	e := f.encoding()
	mt := e.MessageType()
	if f.codec != nil {
		mt = f.messageType
	}
	data := e.AppendError(nil, f.messageID(false), explain(err))
	_ = r.worker.send(s.live, s, Outgoing{Type: mt, Data: data}) // whoever is gone need not know
}

// unrouted says why no handler took a message.
func (s *socket) unrouted(f *frame) error {
	if path := f.message.Path; path != "" {
		return NewError(wire.CodeNoRoute, "nothing handles "+path)
	}
	head, err := s.encoding.Peek(f.message.RawData)
	switch {
	case err != nil:
		return NewError(wire.CodeBadMessage, err.Error())
	case f.codec == nil:
		f.message.ID = string(head.ID)
		return NewError(wire.CodeBadMessage, errNothingDecodes.Error())
	case len(head.ID) > 0:
		return NewError(wire.CodeNoPath, "the message has no path and no handler waits for its id")
	default:
		return NewError(wire.CodeNoPath, "the message has no path")
	}
}
