package router

import (
	"context"
	"fmt"
	"slices"
)

// conversation is a handler that waits, or has waited, for further messages with
// the id of the one that started it. It begins with the first wait and ends with
// the handler. Messages that belong to it never stand in the socket's queue: they
// need no turn, so a handler that waits for one can never be stuck behind it.
type conversation struct {
	socket  *socket
	id      string
	path    string // of the message that started the handler
	node    *node  // where the handler stands
	handler int

	wake chan struct{} // has room for one

	// Guarded by the socket's mu.
	waiting []queued         // as they came
	decoded []InboundMessage // as the chain of handlers left them
}

// converse returns the conversation of the run, begun when there is none yet, with
// the current handler as the one that waits.
func (f *frame) converse() *conversation {
	r, s := f.run, f.run.socket
	id := f.messageID(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	conv := r.conversation
	if conv == nil {
		conv = &conversation{socket: s, id: id, path: r.path, wake: make(chan struct{}, 1)}
		r.conversation = conv
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.at < len(f.chain) {
		conv.node, conv.handler = f.chain[f.at], f.next-1
	}
	if !slices.Contains(s.conversations, conv) {
		s.conversations = append(s.conversations, conv)
		s.conversing.Store(true)
		s.queue.extract(func(m *queued) bool { return conv.owns(m) }, &conv.waiting)
	}
	return conv
}

// owns reports whether a message in the socket's encoding belongs here.
func (conv *conversation) owns(m *queued) bool {
	head := m.peek(conv.socket.encoding)
	return head != nil && string(head.ID) == conv.id &&
		(len(head.Path) == 0 || string(head.Path) == conv.path)
}

// conversationOf finds the conversation that a message belongs to, the youngest if
// there are several. s.mu is held.
func (s *socket) conversationOf(m *queued) *conversation {
	for _, conv := range slices.Backward(s.conversations) {
		if conv.owns(m) {
			return conv
		}
	}
	return nil
}

// endConversation takes a conversation away. What its handler did not receive is handled as if
// it had never belonged there. s.mu is held.
func (s *socket) endConversation(conv *conversation) {
	i := slices.Index(s.conversations, conv)
	if i < 0 {
		return
	}
	s.conversations = slices.Delete(s.conversations, i, i+1)
	s.conversing.Store(len(s.conversations) > 0)
	if !s.stopping.Load() {
		s.queue.prepend(conv.waiting)
	}
	conv.waiting, conv.decoded = nil, nil
}

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func (conv *conversation) signal() {
	select {
	case conv.wake <- struct{}{}:
	default:
	}
}

// handOver gives the message to a handler that waits for it, if the place in the
// chain is right; then the handlers from here on do not run.
func (f *frame) handOver(n *node) bool {
	r := f.run
	s := r.socket
	if !f.message.hasSetID || !s.conversing.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	conv := r.answerTo
	if conv == nil {
		conv = s.customConversation(f, n)
	}
	if conv == nil || conv.id != f.message.ID || conv.node != n || conv.handler != f.next {
		return false
	}
	conv.decoded = append(conv.decoded, f.message)
	conv.signal()
	f.run.bound = true
	f.called = true
	return true
}

// customConversation finds the conversation of a message whose id only middleware
// of the user's own could read, and which had to wait for its turn therefore.
// s.mu is held.
func (s *socket) customConversation(f *frame, n *node) *conversation {
	for _, conv := range slices.Backward(s.conversations) {
		if conv.id == f.message.ID && conv.node == n && conv.handler == f.next && f.run.conversation != conv {
			return conv
		}
	}
	return nil
}

// await returns the next message of a conversation.
func (c *Context) await(ctx context.Context, conv *conversation, w *worker, turn uint64) (InboundMessage, error) {
	s := conv.socket
	ended, done := c.Done(), ctx.Done()
	for {
		s.mu.Lock()
		switch {
		case len(conv.decoded) > 0:
			m := conv.decoded[0]
			conv.decoded = conv.decoded[1:]
			s.mu.Unlock()
			if len(m.Data) == 0 {
				continue
			}
			return m, nil
		case len(conv.waiting) > 0:
			m := conv.waiting[0]
			conv.waiting = conv.waiting[1:]
			s.mu.Unlock()
			s.conn.Consumed(len(m.data))
			s.answer(conv, m, w)
			continue
		case s.ended || s.stopping.Load():
			s.mu.Unlock()
			return InboundMessage{}, ErrSocketClosed
		}
		s.release(w, turn)
		s.mu.Unlock()
		select {
		case <-conv.wake:
		case <-done:
		case <-ended:
		}
		switch {
		case s.ctx.Err() != nil:
			return InboundMessage{}, ErrSocketClosed
		case isDone(ended):
			return InboundMessage{}, ErrContextFreed
		case isDone(done):
			return InboundMessage{}, fmt.Errorf("receive: %w", context.Cause(ctx))
		}
	}
}

// answer lets a message of a conversation run through the handlers up to the one
// that waits. A message without a path has that of the conversation.
func (s *socket) answer(conv *conversation, m queued, w *worker) {
	c := s.newRun(publicNode, *s.router.chain.Load(), w)
	f := c.f
	f.run.answerTo = conv
	f.message.RawData, f.message.Path, f.messageType = m.data, conv.path, m.messageType
	f.run.path = conv.path
	c.Next()
	c.detach()
	if f.ended && !f.run.bound && c.Error == nil && f.message.ID == conv.id {
		// Nothing took it, as when the one that waits is no handler of messages.
		s.mu.Lock()
		conv.decoded = append(conv.decoded, f.message)
		s.mu.Unlock()
	}
	s.settleError(f, c.Error, c.ErrorStack)
	f.recycle(true)
}
