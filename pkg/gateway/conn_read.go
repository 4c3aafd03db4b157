package gateway

import (
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// errCloseUTF8 ends reading after a close frame whose reason is not UTF-8.
var errCloseUTF8 = errors.New("websocket: the reason of a close frame is not UTF-8")

// tap is what a connection's frames are read from: the client's connection, noting
// signs of life and limiting how long a message may take.
type tap conn

func (t *tap) Read(p []byte) (int, error) {
	c := (*conn)(t)
	c.tell()
	c.arm()
	n, err := c.nc.Read(p)
	if n > 0 {
		c.alive()
	}
	return n, err
}

// tally counts messages that were sent on to a service.
type tally struct {
	service         string
	messages, bytes int
}

// count notes that a message was sent on to a service. Hooks are told when the client
// has to be waited for: what comes together costs no more than one message. Only the
// read loop calls it.
func (c *conn) count(service string, bytes int) {
	if c.tally.service != service {
		c.tell()
		c.tally.service = service
	}
	c.tally.messages++
	c.tally.bytes += bytes
}

// tell tells the hook of the messages that were counted.
func (c *conn) tell() {
	if t := c.tally; t.messages > 0 {
		c.tally = tally{service: t.service}
		c.g.hooks.MessagesIn(t.service, t.messages, t.bytes)
	}
}

// arm sets the deadline of the message that is being read, when its next bytes
// have to be waited for.
func (c *conn) arm() {
	if !c.in.begun || c.armed || c.g.cfg.MessageTimeout < 0 {
		return
	}
	c.armed = true
	c.setReadDeadline(time.Now().Add(c.g.cfg.MessageTimeout))
}

// disarm removes that deadline: the message is complete.
func (c *conn) disarm() {
	c.in.begun = false
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
	e = c.read()
	c.tell()
	return e
}

// read takes messages from the client until nothing more can be read, and returns
// why. Once the connection is past connOpen it discards them, so that the client
// gets to read what it is told.
func (c *conn) read() ending {
	for {
		e, err := c.frame()
		if err != nil {
			return c.readError(err)
		}
		if e.cause != causeNone {
			c.end(e)
		}
	}
}

// frame reads one frame, or the whole message that it begins. It returns an ending
// if that is a reason to close the connection, an error if nothing more can be read.
func (c *conn) frame() (e ending, err error) {
	if err := c.in.next(); err != nil {
		return ending{}, err
	}
	switch {
	case c.in.control():
		e, err = c.control()
	case c.over.Load(): // discarded by the next call
	default:
		e, err = c.message()
	}
	if err == nil && !c.in.open {
		c.disarm()
	}
	return e, err
}

// message reads one message, of which the first frame's header was read, and sends
// it on. Its results are those of frame.
func (c *conn) message() (ending, error) {
	if c.in.messageType() != c.encoding.MessageType() {
		return causeWrongType.ending(), nil
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	msg, most := (*buf)[:0], c.g.cfg.MaxMessageBytes
	if c.in.compressed {
		most = compressedLimit(most)
	}
	for fragments := 1; ; fragments++ {
		if limit := c.g.cfg.MaxFragments; limit > 0 && fragments > limit {
			return causeFragments.ending(), nil
		}
		if c.in.left > int64(most-len(msg)) {
			return causeTooBig.ending(), nil
		}
		for c.in.left > 0 {
			if len(msg) == cap(msg) { // grows as bytes come, not by what the client says
				msg = append(msg, 0)[:len(msg)]
			}
			n, err := c.in.read(msg[len(msg):cap(msg)])
			msg = msg[:len(msg)+n]
			*buf = msg
			if err != nil {
				return ending{}, err
			}
		}
		if c.in.fin {
			break
		}
		if e, err := c.continuation(); e.cause != causeNone || err != nil {
			return e, err
		}
	}
	c.disarm()
	if c.in.compressed {
		return c.inflated(msg)
	}
	return c.dispatch(msg), nil
}

// continuation reads up to the header of the message's next frame. Its results are
// those of frame.
func (c *conn) continuation() (ending, error) {
	for {
		if err := c.in.next(); err != nil || !c.in.control() {
			return ending{}, err
		}
		if e, err := c.control(); e.cause != causeNone || err != nil {
			return e, err
		}
	}
}

// control reads and handles a control frame. Its results are those of frame.
func (c *conn) control() (ending, error) {
	payload, err := c.in.payload()
	if err != nil {
		return ending{}, err
	}
	switch {
	case c.in.op == opcodeClose:
		return ending{}, parseClose(payload)
	case c.controlFlood():
		return causeControlFlood.ending(), nil
	case c.in.op == opcodePing:
		c.pong(payload)
	}
	return ending{}, nil
}

// controlBurst is how many seconds' worth of control frames may come at once.
const controlBurst = 5 * time.Second

// controlFlood accounts for a control frame, and reports whether there are more of
// them than may be.
func (c *conn) controlFlood() bool {
	rate := c.g.cfg.MaxControlRate
	if rate < 0 {
		return false
	}
	now := time.Since(c.opened)
	c.controlDue = max(c.controlDue, now) + time.Second/time.Duration(rate)
	return c.controlDue-now > controlBurst
}

// readError returns what a failure to read means.
func (c *conn) readError(err error) ending {
	var broken protocolError
	var closed closedError
	var network net.Error
	switch {
	case errors.As(err, &closed):
		return causeClientClosed.endingWith(closed.status, closed.reason)
	case errors.As(err, &broken):
		c.g.log.Debug("a client broke the protocol", "socket", c.id, "err", err)
		return causeProtocol.ending()
	case errors.Is(err, errCloseUTF8):
		return causeInvalidUTF8.ending()
	case errors.As(err, &network) && network.Timeout() && c.armed:
		return causeMessageTimeout.ending()
	default:
		return causeClientGone.ending()
	}
}

// pong answers a ping of the client.
func (c *conn) pong(payload []byte) {
	c.mu.Lock()
	c.waitForRoom()
	if c.state < connClosing {
		c.queueFrame(opPong, payload)
		c.startWriter()
	}
	c.mu.Unlock()
}
