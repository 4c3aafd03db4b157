package router

import (
	"context"
	"time"
)

// Receive returns the data of the next message of the conversation: that of the
// message itself when called first, unless it has none, and then that of the client's
// further messages with the same id. It blocks until one arrives, the client is gone
// or the handler's context ends. While it waits, other messages of the socket are
// handled. Messages without data are passed over.
//
// The client continues a conversation with messages that have the id, and either no
// path or the path that started the handler. They go through the middleware before
// the handler like any other message, and then here.
func (c *Context) Receive() ([]byte, error) { return c.ReceiveWithContext(c) }

// ReceiveWithTimeout is Receive with a limit to the wait; 0 means none.
func (c *Context) ReceiveWithTimeout(timeout time.Duration) (data []byte, err error) {
	err = c.limited(timeout, func(ctx context.Context) error {
		data, err = c.ReceiveWithContext(ctx)
		return err
	})
	return data, err
}

// ReceiveWithContext is Receive which also ends when ctx does.
func (c *Context) ReceiveWithContext(ctx context.Context) ([]byte, error) {
	m, err := c.receive(ctx)
	return m.Data, err
}

// ReceiveInto is Receive with the data decoded into a value.
func (c *Context) ReceiveInto(into any) error { return c.ReceiveIntoWithContext(c, into) }

// ReceiveIntoWithTimeout is ReceiveInto with a limit to the wait; 0 means none.
func (c *Context) ReceiveIntoWithTimeout(into any, timeout time.Duration) error {
	return c.limited(timeout, func(ctx context.Context) error { return c.ReceiveIntoWithContext(ctx, into) })
}

// ReceiveIntoWithContext is ReceiveInto which also ends when ctx does.
func (c *Context) ReceiveIntoWithContext(ctx context.Context, into any) error {
	m, err := c.receive(ctx)
	if err != nil {
		return err
	}
	return c.decodeInto(&m, into)
}

// Unmarshal decodes the data of the message itself into a value. To Receive the
// message counts as received then.
func (c *Context) Unmarshal(into any) error {
	c.mu.Lock()
	if c.f == nil {
		c.mu.Unlock()
		return ErrContextFreed
	}
	c.f.run.mu.Lock()
	c.f.run.received = true
	c.f.run.mu.Unlock()
	m := c.f.message
	c.mu.Unlock()
	return c.decodeInto(&m, into)
}

// Request sends data and returns that of the client's answer: its next message with
// the same id. If the message that started the handler has no id, one is made. It
// blocks like Receive.
func (c *Context) Request(data any) ([]byte, error) { return c.RequestWithContext(c, data) }

// RequestWithTimeout is Request with a limit to the wait; 0 means none.
func (c *Context) RequestWithTimeout(data any, timeout time.Duration) (answer []byte, err error) {
	err = c.limited(timeout, func(ctx context.Context) error {
		answer, err = c.RequestWithContext(ctx, data)
		return err
	})
	return answer, err
}

// RequestWithContext is Request which also ends when ctx does.
func (c *Context) RequestWithContext(ctx context.Context, data any) ([]byte, error) {
	m, err := c.request(ctx, data)
	return m.Data, err
}

// RequestInto is Request with the answer decoded into a value.
func (c *Context) RequestInto(data, into any) error {
	return c.RequestIntoWithContext(c, data, into)
}

// RequestIntoWithTimeout is RequestInto with a limit to the wait; 0 means none.
func (c *Context) RequestIntoWithTimeout(data, into any, timeout time.Duration) error {
	return c.limited(timeout, func(ctx context.Context) error { return c.RequestIntoWithContext(ctx, data, into) })
}

// RequestIntoWithContext is RequestInto which also ends when ctx does.
func (c *Context) RequestIntoWithContext(ctx context.Context, data, into any) error {
	m, err := c.request(ctx, data)
	if err != nil {
		return err
	}
	return c.decodeInto(&m, into)
}

// limited calls do with a context that ends after the timeout, if that is not 0.
func (c *Context) limited(timeout time.Duration, do func(context.Context) error) error {
	if timeout == 0 {
		return do(c)
	}
	ctx, cancel := context.WithTimeout(c, timeout)
	defer cancel()
	return do(ctx)
}

func (c *Context) decodeInto(m *InboundMessage, into any) error {
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return ErrContextFreed
	}
	unmarshal := f.unmarshal
	if unmarshal == nil && f.codec != nil {
		unmarshal = f.codec.Unmarshal
	}
	c.mu.Unlock()
	if unmarshal == nil {
		return errNoUnmarshaler
	}
	return unmarshal(m, into)
}

func (c *Context) receive(ctx context.Context) (InboundMessage, error) {
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return InboundMessage{}, ErrContextFreed
	}
	f.run.mu.Lock()
	first := !f.run.received
	f.run.received = true
	f.run.mu.Unlock()
	if first && len(f.message.Data) > 0 {
		defer c.mu.Unlock()
		return f.message, nil
	}
	if f.messageID(false) == "" {
		c.mu.Unlock()
		return InboundMessage{}, ErrNoMessageID
	}
	conv, w, turn := f.converse(), f.run.worker, f.run.turn
	c.mu.Unlock()
	return c.await(ctx, conv, w, turn)
}

func (c *Context) request(ctx context.Context, data any) (InboundMessage, error) {
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return InboundMessage{}, ErrContextFreed
	}
	f.messageID(true)
	f.run.mu.Lock()
	f.run.received = true
	f.run.mu.Unlock()
	conv, w, turn := f.converse(), f.run.worker, f.run.turn
	c.mu.Unlock()
	if err := c.send(ctx, data, true); err != nil {
		return InboundMessage{}, err
	}
	s := conv.socket
	s.mu.Lock()
	s.release(w, turn) // even if the answer is there already
	s.mu.Unlock()
	return c.await(ctx, conv, w, turn)
}
