package router

import (
	"context"
	"sync"
)

// Send sends data to the client, with the id of the message if that has one. It
// blocks while the client is slow, until the socket ends.
func (c *Context) Send(data any) error { return c.send(c, data, false) }

// Reply is Send.
func (c *Context) Reply(data any) error { return c.send(c, data, false) }

// buffers hold what is encoded until the transport has taken it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooledBuffer keeps a rare large message from staying in the pool.
const maxPooledBuffer = 64 << 10

// send encodes data and sends it. With request, an id is made if the message has
// none.
func (c *Context) send(ctx context.Context, data any, request bool) error {
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return ErrContextFreed
	}
	r := f.run
	s, w, codec, marshal := r.socket, r.worker, f.codec, f.marshal
	out := Outgoing{Type: f.messageType}
	message := OutboundMessage{ID: f.messageID(request), Data: data}
	r.mu.Lock()
	r.sends++
	if r.conversation != nil || f.message.ID == "" {
		out.ID = message.ID // what we made, the gateway has not seen
	}
	r.mu.Unlock()
	c.mu.Unlock()

	var err error
	switch {
	case marshal != nil:
		m := message
		out.Data, err = marshal(&m)
	case codec != nil:
		buffer, _ := buffers.Get().(*[]byte)
		defer func() {
			if cap(out.Data) <= maxPooledBuffer {
				*buffer = out.Data[:0]
				buffers.Put(buffer)
			}
		}()
		out.Data, err = codec.Append((*buffer)[:0], message)
	default:
		err = errNoMarshaller
	}
	if err != nil {
		return err
	}
	if ctx == context.Context(c) {
		ctx = s.live // a handler that has closed the socket may still send
	}
	return w.send(ctx, s, out)
}

// Close closes the client's connection with status 1000.
func (c *Context) Close() { c.CloseWithStatus(StatusNormalClosure, "") }

// CloseWithStatus closes the client's connection. Contexts of the socket's handlers
// are cancelled and no further message is handled. When the handlers have returned,
// but after the turn timeout at the latest, the connection is closed; before that
// the UseClose handlers run and may send, if the handlers have returned by then.
// The reason is at most 123 bytes; more is cut off.
func (c *Context) CloseWithStatus(status Status, reason string) {
	if s := c.socket(); s != nil {
		s.close(status, reason)
	}
}

// CloseStatus tells how the socket ended, for UseClose handlers. Before that all
// results are zero.
func (c *Context) CloseStatus() (Status, string, CloseSource) {
	if s := c.socket(); s != nil {
		return s.closeStatus()
	}
	return 0, "", 0
}
