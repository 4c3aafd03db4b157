package gateway

import (
	"bytes"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

// clock is what the times of timings count from: cheaper to read than time.Now.
var clock = time.Now()

const (
	// timingLimit is how long a reply may take to be timed.
	timingLimit = time.Minute
	// peekLimit is the largest reply that is looked through for its id, if it does
	// not begin with it as those of package envelope do.
	peekLimit = 4 << 10
)

// timing is the one request of a socket whose reply is timed. To time one at a time
// costs the same however many are under way, and a client that waits for each
// reply has all of them timed.
type timing struct {
	// guarded by conn.mu
	active   bool
	answered time.Duration // when its reply came, since clock; 0: not yet
	since    ticks         // when it began
	begin    time.Duration // when its message was read, since clock
	observe  Observer      // of its route
	id       []byte
	start    []byte // what a reply by package envelope begins with, see startOf
}

// time begins to time the reply to a message, unless another one is timed already.
// Only the read loop calls it.
func (c *conn) time(to *target, id []byte) {
	if to.observe == nil || len(id) == 0 {
		return
	}
	now := c.g.wheel.time()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.timing
	switch {
	case t == nil:
		t = new(timing)
		c.timing = t
	case t.active && now-t.since < c.g.timingTicks:
		return
	}
	t.active, t.answered, t.since, t.observe = true, 0, now, to.observe
	t.begin = time.Since(clock)
	t.id = append(t.id[:0], id...)
	t.start = c.encoding.AppendMessage(t.start[:0], envelope.Message{ID: string(id)})
	t.start = startOf(c.encoding, t.start)
}

// startOf cuts from a message with nothing but an id what a message with more begins
// with, too: for MessagePack without the number of keys.
func startOf(e envelope.Encoding, m []byte) []byte {
	switch e {
	case envelope.JSON:
		return m[:len(m)-1]
	case envelope.MsgPack:
		return m[1:]
	default:
		return m
	}
}

// untime forgets a request that will not be answered by a service. Only the read
// loop calls it.
func (c *conn) untime(id []byte) {
	if c.timing == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.timing; t.answered == 0 && bytes.Equal(t.id, id) {
		t.active = false
	}
}

// waitsFor reports whether payload is the reply that is timed. conn.mu is held.
func (t *timing) waitsFor(e envelope.Encoding, payload []byte) bool {
	if t == nil || !t.active || t.answered != 0 {
		return false
	}
	head := payload
	if e == envelope.MsgPack && len(head) > 0 {
		head = head[1:]
	}
	if bytes.HasPrefix(head, t.start) {
		return true
	}
	if len(payload) > peekLimit || !bytes.Contains(payload, t.id) {
		return false
	}
	h, err := e.Peek(payload)
	return err == nil && bytes.Equal(h.ID, t.id)
}

// timed is told that the reply which is timed was written.
func (c *conn) timed() {
	c.mu.Lock()
	t := c.timing
	t.active = false
	observe, answered, begin := t.observe, t.answered, t.begin
	c.mu.Unlock()
	observe(answered-begin, time.Since(clock)-begin)
}
