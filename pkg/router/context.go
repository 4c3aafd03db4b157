package router

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// Context is what a handler has of a message, its socket and the handlers after it.
// It is a context.Context that ends when the handler returns or the socket ends.
//
// A Context is valid until the handler that was given it returns. After that its
// methods do nothing and return zero values or [ErrContextFreed]. While it is valid
// they may be called from any goroutine, but Next, Error and ErrorStack belong to
// the handler's own.
type Context struct {
	// Error is set by handlers that fail, and by a panic. While it is set Next runs
	// nothing. Middleware that deals with errors calls Next and looks here then.
	//
	// If nothing was sent for the message by the time its handlers have returned
	// (after the panic, if there was one), the client is sent an error: with the
	// code and text of an [Error], or the code internal and no details.
	Error error
	// ErrorStack is where a panic happened.
	ErrorStack string

	mu sync.Mutex
	f  *frame // nil when the handler has returned
}

// frame is what a Context is while it is valid: the place in one chain of handlers.
// Frames are pooled; Contexts are not, and so nobody can reach another's frame.
type frame struct {
	run  *run
	kind nodeKind // publicNode stands for all that handle messages

	chain   []*node
	at      int  // the node in chain
	matched bool // it fits the message
	next    int  // of its handlers
	called  bool // Next has run the handler after the current one
	ended   bool // Next came to the end of the chain

	base    int      // where in the path the chain begins to match: below the mounts
	rest    int      // where the part below the current node begins
	pattern *Pattern // the current node's
	values  []string // of its parameters
	room    [4]string
	above   *frame // of the router that this one is mounted in

	message     InboundMessage
	messageType MessageType
	checked     bool // the path was looked up among the public routes
	codec       *Codec
	unmarshal   func(*InboundMessage, any) error
	marshal     func(*OutboundMessage) ([]byte, error)
}

// run is one message on its way through all routers, or the UseOpen or UseClose
// handlers of a socket.
type run struct {
	socket   *socket
	worker   *worker
	turn     uint64        // that it may pass on; 0: none
	answerTo *conversation // that it is a message of
	values   store

	// Owned by the goroutine of the handlers.
	bound   bool // a handler of Bind or PublicBind ran, or one that waited took it
	refused bool // no public route fits

	mu           sync.Mutex // guards what follows
	sends        int        // messages sent for this one
	sendsBefore  int        // the panic, -1 without one
	received     bool       // the message itself was received
	id           string     // made for a message that has none
	path         string     // that the message had at first
	conversation *conversation
	ctx          context.Context // made when first asked for
	cancel       context.CancelFunc
}

var (
	frames = sync.Pool{New: func() any { return &frame{} }}
	runs   = sync.Pool{New: func() any { return &run{} }}
)

// newRun returns the context of a message at the start of a chain.
func (s *socket) newRun(kind nodeKind, chain []*node, w *worker) *Context {
	r, _ := runs.Get().(*run)
	r.socket, r.worker, r.sendsBefore = s, w, -1
	f, _ := frames.Get().(*frame)
	f.run, f.kind, f.chain, f.messageType = r, kind, chain, s.encoding.MessageType()
	if kind != publicNode {
		if codec := s.codec.Load(); codec != nil {
			f.codec = codec
		}
	}
	return &Context{f: f}
}

// detach makes the context invalid and returns what it was.
func (c *Context) detach() *frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.f
	c.f = nil
	return f
}

// recycle gives a detached frame back; with whole its run too.
func (f *frame) recycle(whole bool) {
	r := f.run
	*f = frame{}
	frames.Put(f)
	if !whole {
		return
	}
	if r.cancel != nil {
		r.cancel()
	}
	values := r.values.values
	clear(values)
	*r = run{}
	r.values.values = values
	runs.Put(r)
}

// route runs a chain of handlers of a mounted router.
func (c *Context) route(chain []*node) {
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return
	}
	sub, _ := frames.Get().(*frame)
	*sub = frame{
		run: f.run, kind: f.kind, chain: chain, above: f, base: f.rest,
		message: f.message, messageType: f.messageType, checked: f.checked,
		codec: f.codec, unmarshal: f.unmarshal, marshal: f.marshal,
	}
	c.mu.Unlock()

	below := &Context{f: sub, Error: c.Error, ErrorStack: c.ErrorStack}
	below.Next()
	c.Error, c.ErrorStack = below.Error, below.ErrorStack
	sub = below.detach()
	ended := sub.ended
	sub.recycle(false)
	if ended {
		c.Next()
	}
}

// background returns the context.Context under c, made when first asked for; nil
// when c is no longer valid.
func (c *Context) background() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		return nil
	}
	r := c.f.run
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		parent := r.socket.ctx
		if c.f.kind == closeNode {
			parent = context.Background() // what cleans up may take its time
		}
		r.ctx, r.cancel = context.WithCancel(parent)
	}
	return r.ctx
}

// closedChan is what Done returns for a context that is no longer valid.
var closedChan = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// Deadline is part of context.Context; there is none.
func (c *Context) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is part of context.Context: closed when the socket ends, a handler closes
// it, or the message's handlers have returned.
func (c *Context) Done() <-chan struct{} {
	if ctx := c.background(); ctx != nil {
		return ctx.Done()
	}
	return closedChan
}

// Err is part of context.Context: nil until Done is closed.
func (c *Context) Err() error {
	if ctx := c.background(); ctx != nil {
		return ctx.Err()
	}
	return context.Canceled
}

// Value is part of context.Context. What handlers keep is found with Get and
// GetFromSocket.
func (c *Context) Value(key any) any {
	if ctx := c.background(); ctx != nil {
		return ctx.Value(key)
	}
	return nil
}

var _ context.Context = (*Context)(nil)

// messageID returns the id of the message. With need, one is made if it has none;
// after that everything sent for the message has it.
func (f *frame) messageID(need bool) string {
	if f.message.ID != "" {
		return f.message.ID
	}
	f.run.mu.Lock()
	defer f.run.mu.Unlock()
	if f.run.id == "" && need {
		f.run.id = rand.Text()
	}
	return f.run.id
}
