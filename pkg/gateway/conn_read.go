package gateway

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// tap is what gorilla/websocket uses as the client's connection once the
// handshake is over. It notes signs of life and limits how long a message may
// take; what gorilla wants to write, which is only the close frame of a protocol
// error, is left to the connection's writer.
type tap struct {
	net.Conn
	c *conn // nil during the handshake
}

func (t *tap) Read(p []byte) (int, error) {
	if t.c == nil {
		return t.Conn.Read(p)
	}
	t.c.arm()
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.c.alive()
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	if t.c == nil {
		return t.Conn.Write(p)
	}
	return len(p), nil
}

func (t *tap) SetWriteDeadline(d time.Time) error {
	if t.c == nil {
		return t.Conn.SetWriteDeadline(d)
	}
	return nil
}

// arm sets the deadline of the message that is being read, when its next bytes
// have to be waited for.
func (c *conn) arm() {
	if !c.midMessage || c.armed || c.g.cfg.MessageTimeout < 0 {
		return
	}
	c.armed = true
	c.setReadDeadline(time.Now().Add(c.g.cfg.MessageTimeout))
}

// disarm removes that deadline.
func (c *conn) disarm() {
	if c.armed {
		c.armed = false
		c.setReadDeadline(time.Time{})
	}
}

// setReadDeadline sets a deadline for reading, unless that of the closing
// handshake is in force.
func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	if c.state < connClosing {
		_ = c.nc.SetReadDeadline(t) // fails only on a closed connection
	}
	c.mu.Unlock()
}

// readBuffers holds *[]byte for messages on their way through the read loop.
var readBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// readGuarded is read; a panic ends only this connection.
func (c *conn) readGuarded() (e ending) {
	defer func() {
		if v := recover(); v != nil {
			c.g.log.Error("panic in a connection's read loop", "socket", c.id, "panic", v, "stack", string(debug.Stack()))
			e = causeInternal.ending()
		}
	}()
	return c.read()
}

// read takes messages from the client until nothing more can be read, and returns
// why. Once the connection is past connOpen it discards them, so that the client
// gets to read what it is told.
func (c *conn) read() ending {
	for {
		typ, r, err := c.ws.NextReader()
		if err != nil {
			return c.readError(err)
		}
		if c.over.Load() {
			continue
		}
		c.midMessage = true
		e, err := c.message(wire.MessageType(typ), r)
		if err != nil {
			return c.readError(err)
		}
		c.midMessage = false
		c.disarm()
		if e.cause != causeNone {
			c.end(e)
		}
	}
}

// message reads one message and sends it on. It returns an ending if the message
// is a reason to close the connection, an error if it could not be read.
func (c *conn) message(typ wire.MessageType, r io.Reader) (ending, error) {
	if typ != c.encoding.MessageType() {
		return causeWrongType.ending(), nil
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	limit := c.g.cfg.MaxMessageBytes
	msg := (*buf)[:0]
	for {
		if len(msg) == cap(msg) {
			msg = append(msg, 0)[:len(msg)]
		}
		n, err := r.Read(msg[len(msg):cap(msg)])
		msg = msg[:len(msg)+n]
		*buf = msg
		if len(msg) > limit {
			return causeTooBig.ending(), nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ending{}, err
		}
	}
	c.disarm()
	return c.dispatch(msg), nil
}

// readError returns what a failure to read means.
func (c *conn) readError(err error) ending {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		if closed.Code == websocket.CloseAbnormalClosure {
			return causeClientGone.ending()
		}
		return causeClientClosed.endingWith(wire.CloseCode(closed.Code), closed.Text)
	}
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout() && c.armed:
		return causeMessageTimeout.ending()
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return causeClientGone.ending()
	default:
		return causeProtocol.ending()
	}
}

// pong answers a ping of the client; gorilla/websocket calls it in the read loop.
func (c *conn) pong(data string) error {
	c.mu.Lock()
	c.waitForRoom()
	if c.state < connClosing {
		c.queueFrame(opPong, []byte(data))
		c.startWriter()
	}
	c.mu.Unlock()
	return nil
}

// ignoreClose takes the place of gorilla/websocket's answer to a close frame: the
// connection's writer sends it.
func ignoreClose(int, string) error { return nil }
