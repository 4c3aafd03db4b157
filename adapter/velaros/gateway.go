package velarosadapter

import (
	"fmt"
	"sync"

	"github.com/RobertWHurst/velaros"

	"github.com/boreas-ws/boreas/pkg/gateway"
)

// Middleware forwards messages of a Velaros router to the services behind a
// gateway. It is a velaros.Handler, OpenHandler and CloseHandler. See [Gateway].
type Middleware struct {
	gateway *gateway.Gateway

	mu       sync.Mutex
	sessions map[string]*session // by Velaros's socket id; those that used the gateway
}

var (
	_ velaros.Handler      = (*Middleware)(nil)
	_ velaros.OpenHandler  = (*Middleware)(nil)
	_ velaros.CloseHandler = (*Middleware)(nil)
)

// Gateway mounts a gateway in a Velaros router, after the middleware that decodes
// the envelope. It forwards the messages whose path a service announced, and the
// client's answers to what services ask; for all others it calls Next. Several
// gateways may be mounted: the first that serves a path has it. Somebody else runs
// and drains gw. The router has checked the client's origin already, so the
// gateway does not see it.
//
// A message that cannot be forwarded sets the context's Error, which Velaros tells
// nobody unless middleware before this one does. The gateway is given the client's
// own bytes: middleware that changes a path or data belongs in the services.
func Gateway(gw *gateway.Gateway) *Middleware {
	return &Middleware{gateway: gw, sessions: map[string]*session{}}
}

// Handle implements velaros.Handler.
func (m *Middleware) Handle(ctx *velaros.Context) {
	s, err := m.session(ctx)
	switch {
	case err != nil:
		ctx.Error = fmt.Errorf("the gateway cannot be reached: %w", err)
	case s == nil:
		ctx.Next()
	default:
		if err := s.forward(ctx); err != nil {
			ctx.Error = fmt.Errorf("the gateway cannot be reached: %w", err)
		}
	}
}

// HandleOpen implements velaros.OpenHandler. A socket meets the gateway with the
// first message for it, so there is nothing to do.
func (m *Middleware) HandleOpen(*velaros.Context) {}

// HandleClose implements velaros.CloseHandler.
func (m *Middleware) HandleClose(ctx *velaros.Context) {
	m.mu.Lock()
	s := m.sessions[ctx.SocketID()]
	delete(m.sessions, ctx.SocketID())
	m.mu.Unlock()
	if s != nil {
		status, reason, _ := ctx.CloseStatus()
		s.close(int(status), reason)
	}
}

// session returns the session that a message goes to, nil for none.
func (m *Middleware) session(ctx *velaros.Context) (*session, error) {
	path := ctx.Path()
	serves := path != "" && m.gateway.CanServePath(path)
	m.mu.Lock()
	s := m.sessions[ctx.SocketID()]
	if s == nil && serves {
		// Velaros ends the contexts of a socket before it runs the close handlers. A
		// message that is handled later than those must not start a session: nobody
		// would end it.
		if err := ctx.Err(); err != nil {
			m.mu.Unlock()
			return nil, err
		}
		s = &session{}
		m.sessions[ctx.SocketID()] = s
	}
	m.mu.Unlock()
	if s == nil || !serves && (path != "" || !s.used(ctx.MessageID())) {
		return nil, nil
	}
	s.once.Do(func() { s.err = s.open(ctx, m.gateway) })
	if s.err != nil { // the next message tries again
		m.mu.Lock()
		if m.sessions[ctx.SocketID()] == s {
			delete(m.sessions, ctx.SocketID())
		}
		m.mu.Unlock()
	}
	return s, s.err
}
