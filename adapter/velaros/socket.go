package velarosadapter

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/RobertWHurst/velaros"
	"github.com/coder/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// finishTimeout is how long a socket that ends waits for the answers to requests
// that it has delivered. Velaros does not tell when a handler is done, so an answer
// with the request's id counts as its end.
const finishTimeout = 5 * time.Second

// maxOpenRequests is how many unanswered ids a socket remembers for that.
const maxOpenRequests = 1024

// socket is one client's socket: the transport that Velaros reads from and writes
// to, and what the service feeds.
type socket struct {
	handler  *handler
	conn     router.Conn
	encoding envelope.Encoding
	done     chan struct{} // closed when HandleConnection has returned

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	queue   []message
	open    map[string]struct{} // ids of requests without an answer
	paths   recent              // of the messages that had an id
	ended   bool
	finish  bool // the queue and the open requests are waited for
	status  router.Status
	reason  string
	source  router.CloseSource
}

type message struct {
	kind router.MessageType
	data []byte
	size int // of the client's message, which may be shorter than data
}

var (
	_ router.SocketHandler     = (*socket)(nil)
	_ velaros.SocketConnection = (*socket)(nil)
)

func newSocket(h *handler, conn router.Conn, e envelope.Encoding) *socket {
	return &socket{
		handler: h, conn: conn, encoding: e, done: make(chan struct{}),
		changed: make(chan struct{}), open: map[string]struct{}{},
	}
}

// signal wakes who waits for a change. mu is held.
func (s *socket) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Deliver implements router.SocketHandler.
func (s *socket) Deliver(kind router.MessageType, data []byte) {
	head, err := s.encoding.Peek(data)
	id, path := string(head.ID), string(head.Path)
	switch {
	case err != nil: // two decoders might see different paths in it
		s.conn.Consumed(len(data))
		go s.refuse("", wire.CodeBadMessage, err.Error()) // Deliver must not wait for credit
		return
	case path != "" && !s.handler.announced(path):
		s.conn.Consumed(len(data))
		go s.refuse(id, wire.CodeNoRoute, "no service handles "+path)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	m := message{kind: kind, data: data, size: len(data)}
	if id != "" {
		if path == "" { // Velaros finds the handler that waits for it by its path
			if path, _ = s.paths.get(id); path != "" {
				m.data = s.encoding.AppendMessage(nil, envelope.Message{ID: id, Path: path, Data: head.Data, Meta: head.Meta})
			}
		}
		if path != "" {
			s.paths.put(id, path)
			if len(s.open) < maxOpenRequests {
				s.open[id] = struct{}{}
			}
		}
	}
	s.queue = append(s.queue, m)
	s.signal()
}

// refuse answers a message that no handler may see.
func (s *socket) refuse(id string, code wire.ErrorCode, text string) {
	data := s.encoding.AppendError(nil, id, envelope.Failure{Code: code, Message: text})
	// An error means that the socket has ended, and nobody waits for the answer.
	_ = s.conn.Send(context.Background(), router.Outgoing{Type: s.encoding.MessageType(), Data: data})
}

// End implements router.SocketHandler.
func (s *socket) End(status router.Status, reason string, source router.CloseSource, finish bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.finish = true, finish
		s.status, s.reason, s.source = status, reason, source
	}
	if !finish {
		s.finish, s.queue = false, nil
	}
	s.signal()
}

// SetIdentity implements router.SocketHandler. Velaros has no place for it: what a
// handler sees in the headers is who the client was when its socket was opened. It
// is the same user.
func (s *socket) SetIdentity(router.Identity) {}

// Done implements router.SocketHandler.
func (s *socket) Done() <-chan struct{} { return s.done }

// Pending implements router.SocketHandler. It counts requests, not handlers: see
// finishTimeout.
func (s *socket) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(len(s.queue), len(s.open))
}

// Read implements velaros.SocketConnection.
func (s *socket) Read(ctx context.Context) (*velaros.SocketMessage, error) {
	var patience <-chan time.Time
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			m := s.queue[0]
			s.queue[0] = message{}
			s.queue = s.queue[1:]
			s.mu.Unlock()
			s.conn.Consumed(m.size)
			return &velaros.SocketMessage{Type: velaros.MessageType(m.kind), RawData: m.data}, nil
		}
		ended, wait := s.ended, s.finish && len(s.open) > 0
		changed := s.changed
		s.mu.Unlock()
		if ended && !wait {
			return nil, s.ending()
		}
		if ended && patience == nil {
			timer := time.NewTimer(finishTimeout)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-changed:
		case <-patience:
			return nil, s.ending()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ending is how Velaros is told of the end: a close error means that the client
// closed, a cancellation that the server did.
func (s *socket) ending() error {
	if s.source == router.ClientCloseSource {
		return websocket.CloseError{Code: websocket.StatusCode(s.status), Reason: s.reason}
	}
	return context.Canceled
}

// Write implements velaros.SocketConnection.
func (s *socket) Write(ctx context.Context, msg *velaros.SocketMessage) error {
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	// Velaros does not say whether a handler waits for an answer under this id, so
	// the gateway is always told who used it last. Of the message's type it takes
	// text where it does not know better, in open and close handlers.
	var id string
	if head, err := s.encoding.Peek(msg.Data); err == nil && len(head.ID) > 0 {
		id = string(head.ID)
	}
	err := s.conn.Send(ctx, router.Outgoing{Type: s.encoding.MessageType(), Data: msg.Data, ID: id})
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, answered := s.open[id]; answered {
		delete(s.open, id)
		s.signal()
	}
	return err
}

// Close implements velaros.SocketConnection. Velaros calls it once, after the close
// handlers.
func (s *socket) Close(status velaros.Status, reason string) error {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if !ended {
		s.conn.Close(router.Status(status), reason)
	}
	return nil
}
