package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// client is one connection.
type client struct {
	run    *runner
	active bool
	ws     *websocket.Conn
	stats  *shard
	slots  chan struct{} // a token for each message that may be sent; nil without a window
	done   chan struct{} // closed when nothing more is read

	writing sync.Mutex // held while a message is written

	mu      sync.Mutex
	sent    uint64               // messages, numbered from 1
	due     map[uint64]time.Time // those without an answer, and when they were due
	last    uint64               // the highest number that was answered
	group   uint64               // the highest number that came from the group
	got     uint64               // messages of the group
	latency time.Duration        // of the last answer
}

// payload is the data of a message.
type payload struct {
	N   uint64 `json:"n"`             // number
	Due int64  `json:"due"`           // ns since the run's start
	Pad string `json:"pad,omitempty"` // as much as Config.Size
}

// connect opens a connection.
func (r *runner) connect(ctx context.Context, number int) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout)
	defer cancel()
	credential, err := r.cfg.Credential(ctx, number)
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	dialer := websocket.Dialer{HandshakeTimeout: r.cfg.DialTimeout, ReadBufferSize: 1 << 10, WriteBufferPool: &r.buffers}
	if credential != "" {
		dialer.Subprotocols = []string{envelope.JSON.Subprotocol(), credential}
	}
	if sources := r.cfg.Sources; len(sources) > 0 {
		local := &net.TCPAddr{IP: sources[number%len(sources)].AsSlice()}
		dialer.NetDialContext = (&net.Dialer{LocalAddr: local}).DialContext
	}
	ws, resp, err := dialer.DialContext(ctx, r.cfg.Targets[number%len(r.cfg.Targets)], r.cfg.Header)
	if resp != nil {
		_ = resp.Body.Close() // it has been read
		if err != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
	}
	if err != nil {
		return nil, err
	}
	c := &client{
		run: r, active: number < r.cfg.Connections, ws: ws, stats: r.stats.of(number),
		done: make(chan struct{}), due: map[uint64]time.Time{},
	}
	if c.active && !r.cfg.Publish {
		c.slots = make(chan struct{}, r.cfg.Window)
		for range r.cfg.Window {
			c.slots <- struct{}{}
		}
	}
	return c, nil
}

// read takes what comes until the connection ends.
func (c *client) read() {
	defer close(c.done)
	for {
		_, msg, err := c.ws.ReadMessage()
		if err != nil {
			c.ended(err)
			return
		}
		if !c.take(msg) {
			c.stats.count(func(n *counts) { n.extra++ })
		}
	}
}

// ended counts how the connection ended, unless the run ended it.
func (c *client) ended(err error) {
	code := websocket.CloseAbnormalClosure
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		code = ce.Code
	}
	if !c.run.over.Load() {
		c.stats.count(func(n *counts) { n.closes[code]++ })
	}
}

// take accounts for one message. It reports whether it was one that was expected.
func (c *client) take(msg []byte) bool {
	head, err := envelope.JSON.Peek(msg)
	if err != nil {
		return false
	}
	if code, failed := failure(head.Data); failed {
		c.stats.count(func(n *counts) { n.errors[code]++ })
		if string(head.ID) == setupID {
			c.run.joined <- struct{}{}
		}
		return string(head.ID) == setupID || string(head.ID) == reportID || c.answer(head.ID, false)
	}
	switch {
	case string(head.ID) == setupID:
		c.run.joined <- struct{}{}
		return true
	case string(head.ID) == reportID:
		return true
	case c.run.cfg.Publish && len(head.ID) == 0:
		return c.pushed(head.Data)
	default:
		return c.answer(head.ID, !c.run.cfg.Publish)
	}
}

// The ids of messages that are not part of the load.
const (
	setupID  = "setup"
	reportID = "latency"
)

// failure reports whether data is that of an error message, and its code.
func failure(data []byte) (code string, failed bool) {
	const start = `{"error":`
	if len(data) < len(start) || string(data[:len(start)]) != start {
		return "", false
	}
	var e struct {
		Code wire.ErrorCode `json:"code"`
	}
	if json.Unmarshal(data, &e) != nil || e.Code == "" {
		return "unknown", true
	}
	return string(e.Code), true
}

// answer settles the message with that id. Its latency counts only with success.
func (c *client) answer(id []byte, success bool) bool {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return false
	}
	c.mu.Lock()
	due, ok := c.due[n]
	delete(c.due, n)
	late := ok && n < c.last
	c.last = max(c.last, n)
	if ok {
		c.latency = time.Since(due)
	}
	latency := c.latency
	c.mu.Unlock()
	if !ok {
		return false
	}
	if late {
		c.stats.count(func(n *counts) { n.reordered++ })
	}
	if success {
		c.stats.answered(latency)
	}
	if c.slots != nil {
		c.slots <- struct{}{}
	}
	return true
}

// pushed accounts for a message of the group.
func (c *client) pushed(data []byte) bool {
	var p payload
	if json.Unmarshal(data, &p) != nil || p.N == 0 {
		return false
	}
	c.mu.Lock()
	late := p.N <= c.group
	c.group = max(c.group, p.N)
	c.got++
	c.mu.Unlock()
	if late {
		c.stats.count(func(n *counts) { n.reordered++ })
	}
	c.stats.answered(time.Since(c.run.start.Add(time.Duration(p.Due))))
	return true
}

// send writes the next message, due at that time.
func (c *client) send(path string, due time.Time) error {
	c.mu.Lock()
	c.sent++
	n := c.sent
	c.due[n] = due
	c.mu.Unlock()
	data, err := json.Marshal(payload{N: n, Due: due.Sub(c.run.start).Nanoseconds(), Pad: c.run.pad})
	if err != nil {
		return err
	}
	c.stats.count(func(n *counts) { n.sent++ })
	return c.write(path, strconv.FormatUint(n, 10), data)
}

func (c *client) write(path, id string, data []byte) error {
	msg := envelope.JSON.AppendMessage(nil, envelope.Message{ID: id, Path: path, Data: data})
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.run.cfg.DialTimeout)) // never fails
	return c.ws.WriteMessage(websocket.TextMessage, msg)
}

// report tells the gateway the last latency, if there is one.
func (c *client) report() error {
	c.mu.Lock()
	latency := c.latency
	c.mu.Unlock()
	if latency == 0 {
		return nil
	}
	return c.write("/$latency", reportID, fmt.Appendf(nil, `{"ms":%.3f}`, float64(latency.Microseconds())/1000))
}

// unanswered is how many messages have no answer.
func (c *client) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.due)
}

// missed is how many of the publisher's messages this client has not got.
func (c *client) missed(publisher *client) int64 {
	publisher.mu.Lock()
	sent := publisher.sent
	publisher.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(sent - min(c.got, sent))
}
