package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// First bytes of the WebSocket frames that a gateway sends: all are final. Messages
// that are compressed have rsv1 as well.
const (
	opClose = 0x88
	opPing  = 0x89
	opPong  = 0x8a

	final = 0x80
)

const (
	// ownOutLimit is how many queued bytes stop the read loop from queueing answers
	// of its own, such as errors and pongs: a client that does not read them is not
	// read from either. What services send is bounded by their credit instead.
	ownOutLimit = 64 << 10
	// maxWrite is the most bytes of one write, so that progress shows.
	maxWrite = 64 << 10
	// keepOutbox is the largest outbox that is kept for reuse.
	keepOutbox = 64 << 10
)

// outbox collects WebSocket frames that leave in one write.
type outbox struct {
	b        []byte
	messages int        // of services
	timed    timedReply // one of them
	shared   []sharedFrame
}

var outboxes = sync.Pool{New: func() any { return &outbox{b: make([]byte, 0, 2<<10)} }}

func (o *outbox) free() {
	if cap(o.b) <= keepOutbox {
		clear(o.shared)
		o.b, o.messages, o.timed, o.shared = o.b[:0], 0, timedReply{}, o.shared[:0]
		outboxes.Put(o)
	}
}

// appendHeader appends the header of a server's WebSocket frame.
func appendHeader(b []byte, op byte, length int) []byte {
	switch {
	case length < 126:
		return append(b, op, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, op, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(b, op, 127), uint64(length))
	}
}

// frameEnd returns where the frame ends that holds byte i of a run of frames made
// by appendHeader: i itself if a frame begins there.
func frameEnd(frames []byte, i int) int {
	end := 0
	for end < i {
		switch n := frames[end+1]; n {
		case 126:
			end += 4 + int(binary.BigEndian.Uint16(frames[end+2:]))
		case 127:
			end += 10 + int(binary.BigEndian.Uint64(frames[end+2:]))
		default:
			end += 2 + int(n)
		}
	}
	return end
}

// queueFrame puts one frame behind what is queued. mu is held.
func (c *conn) queueFrame(op byte, payload []byte) {
	if c.out == nil {
		c.out = outboxes.Get().(*outbox)
	}
	c.out.b = append(appendHeader(c.out.b, op, len(payload)), payload...)
}

// queueClose puts the close frame behind what is queued. mu is held.
func (c *conn) queueClose(e ending) {
	var payload []byte
	if status := sendable(e.status); status != 0 {
		reason := e.reason
		if e.cause == causeClientClosed {
			reason = "" // the client knows
		}
		payload = binary.BigEndian.AppendUint16(nil, uint16(status))
		payload = append(payload, shorten(reason, wire.MaxCloseReasonLen)...)
	}
	c.queueFrame(opClose, payload)
	c.startWriter()
}

// startWriter has what is queued written. mu is held.
func (c *conn) startWriter() {
	if !c.writing && !c.broken && c.out != nil {
		c.writing = true
		go c.write()
	}
}

// waitForRoom blocks the read loop while so much is queued that it must not add
// to it. mu is held.
func (c *conn) waitForRoom() {
	for c.state < connClosing && c.out != nil && len(c.out.b) >= ownOutLimit {
		c.wait()
	}
}

// answer queues a message of the gateway itself. Only the read loop calls it.
func (c *conn) answer(payload []byte) {
	c.mu.Lock()
	c.waitForRoom()
	if c.state < connClosing {
		c.queueFrame(final|byte(c.encoding.MessageType()), payload)
		c.startWriter()
	}
	c.mu.Unlock()
}

// ping queues a ping, unless the client is not taking what is queued already.
func (c *conn) ping() {
	c.mu.Lock()
	if c.state < connClosing && c.out == nil {
		c.queueFrame(opPing, nil)
		c.startWriter()
	}
	c.mu.Unlock()
}

// writeLoop writes what is queued until nothing is left. Everything that was
// queued while a write was under way leaves in the next one.
func (c *conn) writeLoop() {
	for {
		out, due := c.nextWrite()
		for _, g := range due {
			g.send()
		}
		if out == nil {
			return
		}
		if c.in.deflate && out.worthCompressing() {
			out = out.compressed(c.encoding)
		}
		if messages, n := out.messages, len(out.b); c.flush(out.b) && messages > 0 {
			c.g.hooks.MessagesOut(messages, n)
			if out.timed.observe != nil {
				out.timed.written()
			}
		}
		out.free()
	}
}

// nextWrite accounts for the last write and takes what is to be written next; nil
// ends the writer. It also returns the credit that is due to instances.
func (c *conn) nextWrite() (out *outbox, due []grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pins {
		if g, ok := p.written(); ok {
			due = append(due, g)
		}
	}
	if c.pushes != nil {
		c.pushes.advance(c)
	}
	if c.out == nil || c.broken {
		c.writing = false
	} else {
		out, c.out = c.out, nil
		c.setWriteDeadline()
	}
	c.changed.Broadcast()
	return out, due
}

// setWriteDeadline allows the next write its time. mu is held.
func (c *conn) setWriteDeadline() {
	var deadline time.Time
	switch timeout := c.g.cfg.SlowConsumerTimeout; {
	case c.state >= connClosing:
		deadline = c.closeBy
	case timeout > 0:
		deadline = time.Now().Add(timeout)
	}
	_ = c.nc.SetWriteDeadline(deadline) // fails only on a closed connection
}

// flush writes b, and reports whether the client took all of it. If it did not,
// the connection ends.
func (c *conn) flush(b []byte) bool {
	for done := 0; ; {
		n, err := c.nc.Write(b[done:min(done+maxWrite, len(b))])
		done += n
		if done == len(b) {
			return true
		}
		if err != nil && !c.goOn(b, done, n > 0, err) {
			return false
		}
	}
}

// goOn decides what follows a write that failed after done bytes of b.
func (c *conn) goOn(b []byte, done int, progress bool, err error) bool {
	var network net.Error
	slow := errors.As(err, &network) && network.Timeout()
	c.mu.Lock()
	switch {
	case c.state >= connClosing || !slow:
		c.broken = true
		c.dropOut()
	case progress:
		c.setWriteDeadline()
		c.mu.Unlock()
		return true
	default:
		// The rest of the frame that is half written comes before the close frame;
		// all other messages are dropped.
		c.dropOut()
		if tail := b[done:frameEnd(b, done)]; len(tail) > 0 {
			c.out = outboxes.Get().(*outbox)
			c.out.b = append(c.out.b, tail...)
		}
	}
	e := causeClientGone.ending()
	if slow {
		e = causeSlowConsumer.ending()
	}
	due := c.endLocked(e)
	c.mu.Unlock()
	closeStreams(due)
	return false
}

// dropOut forgets what is queued. mu is held.
func (c *conn) dropOut() {
	if c.out != nil {
		if c.out.messages > 0 {
			c.g.hooks.Dropped(c.out.messages)
		}
		c.out.free()
		c.out = nil
	}
}

// shorten cuts s to at most n bytes, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
