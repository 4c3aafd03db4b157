package router

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// socket is one client.
type socket struct {
	router   *Router
	config   *Config
	info     SocketInfo
	conn     Conn
	encoding envelope.Encoding

	live     context.Context // ends with the transport: bounds Send
	ctx      context.Context // of the handlers: ends with live, or when one closes the socket
	cancel   context.CancelFunc
	kill     context.CancelFunc
	values   store
	identity atomic.Pointer[Identity]
	codec    atomic.Pointer[Codec] // of the last message that was decoded
	stopping atomic.Bool           // nothing more is handled; set under mu
	// conversing: there are conversations; set under mu.
	conversing atomic.Bool

	mu            sync.Mutex // guards what follows
	queue         queue
	conversations []*conversation
	workers       int           // handlers at work or waiting
	owner         *worker       // whose turn it is; nil: nobody's
	turn          uint64        // names the owner's turn
	since         time.Duration // when the owner's turn began to count
	blocked       uint64        // the Send that the owner was last seen in
	timer         *time.Timer
	timed         bool // the timer runs
	opened        bool // the UseOpen handlers have returned
	end           ending
	closing       bool          // a handler asked for the end
	closeBy       time.Duration // when the transport is told at the latest
	connClosed    bool          // and the transport was told
	ended         bool          // the transport has ended
	closedHandled bool          // the UseClose handlers were started
	closed        bool          // and have returned
	done          chan struct{}
}

// ending is how a socket ended, as its first cause told.
type ending struct {
	known  bool
	status Status
	reason string
	source CloseSource
}

// ServeSocket starts a socket on conn and returns the end that the transport feeds.
// The UseOpen handlers start to run at once.
func (r *Router) ServeSocket(info SocketInfo, conn Conn) SocketHandler {
	s := r.newSocket(info, conn)
	s.start()
	return feed{s}
}

func (r *Router) newSocket(info SocketInfo, conn Conn) *socket {
	if info.ID == "" {
		info.ID = rand.Text()
	}
	info.Headers = setSubprotocolHeader(info.Headers, info.Subprotocol)
	s := &socket{router: r, config: r.config.Load(), info: info, conn: conn, done: make(chan struct{})}
	s.identity.Store(&s.info.Identity)
	s.encoding, _ = envelope.FromSubprotocol(info.Subprotocol)
	s.live, s.kill = context.WithCancel(context.Background())
	s.ctx, s.cancel = context.WithCancel(s.live)
	return s
}

func (s *socket) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(*s.router.opens.Load()) == 0 {
		s.opened = true
		return
	}
	s.queue.push(queued{opening: true})
	s.schedule()
}

// feed is a socket as its transport sees it.
type feed struct{ s *socket }

func (f feed) Deliver(mt MessageType, data []byte) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.stopping.Load() {
		return
	}
	m := queued{data: data, messageType: mt}
	if len(s.conversations) > 0 {
		if conv := s.conversationOf(&m); conv != nil {
			conv.waiting = append(conv.waiting, m)
			conv.signal()
			return
		}
	}
	s.queue.push(m)
	s.schedule()
}

func (f feed) End(status Status, reason string, source CloseSource, finish bool) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && finish {
		return
	}
	s.ended = true
	s.endsBy(status, reason, source)
	if !finish {
		s.stop()
		s.kill()
	}
	for _, conv := range s.conversations {
		conv.signal() // nothing more can arrive
	}
	s.watch()
	s.settle()
}

func (f feed) SetIdentity(i Identity) { f.s.identity.Store(&i) }

func (f feed) Done() <-chan struct{} { return f.s.done }

func (f feed) Pending() int {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.queue.len() + s.workers
	for _, conv := range s.conversations {
		n += len(conv.waiting)
	}
	return n
}

// endsBy notes how the socket ended; the first cause counts. mu is held.
func (s *socket) endsBy(status Status, reason string, source CloseSource) {
	if s.end.known {
		return
	}
	if source != ClientCloseSource {
		source = ServerCloseSource // a handed-back socket ends here by the server's will
	}
	s.end = ending{true, status, reason, source}
}

// stop ends the handling of messages. mu is held.
func (s *socket) stop() {
	s.stopping.Store(true)
	opening := s.queue.len() > 0 && s.queue.items[s.queue.head].opening
	s.queue.drop()
	if opening {
		s.queue.push(queued{opening: true}) // what opens has to run before what closes
	}
	for _, conv := range s.conversations {
		conv.waiting, conv.decoded = nil, nil
	}
	s.cancel()
}

// close ends the socket at a handler's request.
func (s *socket) close(status Status, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.ended {
		return
	}
	s.closing = true
	s.endsBy(sendable(status), reason[:min(len(reason), wire.MaxCloseReasonLen)], ServerCloseSource)
	s.stop()
	grace := s.config.TurnTimeout
	if grace < 0 {
		grace = DefaultTurnTimeout
	}
	s.closeBy = time.Since(clock) + grace
	s.after(grace)
	s.settle()
}

func (s *socket) closeStatus() (Status, string, CloseSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end.status, s.end.reason, s.end.source
}

func (s *socket) closedByHandler() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
