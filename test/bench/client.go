package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ioTimeout ends a run in which a server stopped answering.
const ioTimeout = 20 * time.Second

// client is one WebSocket connection that always has up to window messages under
// way. It spends as little CPU as it can, because it shares the cores with the
// servers: frames are prepared, and written together for all the replies that one
// read brought.
type client struct {
	conn   net.Conn
	in     []byte      // read, not yet parsed
	out    []byte      // frames to be written
	sent   []time.Time // when message i went out, at i modulo the window
	next   int         // number of the next message
	expect int         // number of the next reply

	patience time.Duration // how long to wait for bytes; 0: for ever

	done      atomic.Int64 // round trips so far
	latencies []time.Duration
}

// dial connects to a WebSocket server.
func dial(ctx context.Context, t *target) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: make([]byte, 0, 4096), patience: ioTimeout}
	if err := c.handshake(t); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", t.name, err), conn.Close())
	}
	return c, nil
}

func (c *client) handshake(t *target) error {
	conn := c.conn
	if err := conn.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", t.path, t.addr); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 1024)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		_ = resp.Body.Close()
		return fmt.Errorf("handshake: %s: %s", resp.Status, body)
	}
	early, err := r.Peek(r.Buffered()) // such as a ping
	if err != nil {
		return err
	}
	c.in = append(c.in, early...)
	return conn.SetDeadline(time.Time{})
}

// phase is what the clients of a run shall do.
type phase int32

const (
	phaseWarm    phase = iota // send, do not record
	phaseMeasure              // send and record
	phaseEnd                  // send no more; return when every reply is here
)

// load keeps window messages under way until now is phaseEnd.
func (c *client) load(window int, now *atomic.Int32) error {
	c.sent = make([]time.Time, window)
	if err := c.send(window); err != nil {
		return err
	}
	for c.expect < c.next {
		replies, err := c.receive(phase(now.Load()) == phaseMeasure)
		if err != nil {
			return err
		}
		if replies == 0 || phase(now.Load()) == phaseEnd {
			continue
		}
		if err := c.send(replies); err != nil {
			return err
		}
	}
	return nil
}

// roundTrip sends one message and waits for its reply.
func (c *client) roundTrip() error {
	c.sent = make([]time.Time, 1)
	if err := c.send(1); err != nil {
		return err
	}
	for c.expect < c.next {
		if _, err := c.receive(false); err != nil {
			return err
		}
	}
	return nil
}

// send writes n messages at once.
func (c *client) send(n int) error {
	c.out = c.out[:0]
	now := time.Now()
	for range n {
		c.sent[c.next%len(c.sent)] = now
		c.out = appendFrame(c.out, c.next)
		c.next++
	}
	_, err := c.conn.Write(c.out)
	return err
}

// receive reads once and takes all the frames that are complete.
func (c *client) receive(record bool) (replies int, err error) {
	if len(c.in) == cap(c.in) {
		c.in = append(c.in, 0)[:len(c.in)]
	}
	var deadline time.Time
	if c.patience > 0 {
		deadline = time.Now().Add(c.patience)
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	if err != nil {
		return 0, fmt.Errorf("with %d replies missing: %w", c.next-c.expect, err)
	}
	now := time.Now()
	c.in = c.in[:len(c.in)+n]
	rest := c.in
	for {
		op, payload, n, err := parseFrame(rest)
		if err != nil {
			return replies, err
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		switch op {
		case opText:
			if err := c.reply(payload, now, record); err != nil {
				return replies, err
			}
			replies++
		case opPing:
			if err := c.pong(payload); err != nil {
				return replies, err
			}
		default:
			return replies, fmt.Errorf("the server sent opcode %d: %q", op, payload)
		}
	}
	c.in = c.in[:copy(c.in, rest)]
	c.done.Add(int64(replies))
	return replies, nil
}

// reply checks that payload answers the oldest message that is under way.
func (c *client) reply(payload []byte, now time.Time, record bool) error {
	id, err := replyID(payload)
	if err != nil {
		return err
	}
	if id != c.expect {
		return fmt.Errorf("reply %d came in place of %d: %s", id, c.expect, payload)
	}
	if record {
		c.latencies = append(c.latencies, now.Sub(c.sent[id%len(c.sent)]))
	}
	c.expect++
	return nil
}

func (c *client) pong(payload []byte) error {
	b := append([]byte{0x80 | opPong, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	_, err := c.conn.Write(b)
	return err
}

// close ends the connection the polite way, as far as that needs no waiting.
func (c *client) close() {
	_, _ = c.conn.Write([]byte{0x80 | opClose, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe8})
	_ = c.conn.Close()
}
