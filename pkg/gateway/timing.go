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
	// timedPerTick is about how many requests of a socket are timed per step of the
	// wheel, a second by default. Clocks are slow to read, compared with the rest.
	timedPerTick = 16
)

// sampler picks the requests that are timed: all of a socket that sends few, and of
// one that sends many every n-th. The zero value is ready. Only the read loop uses it.
type sampler struct {
	tick   ticks
	seen   uint32 // requests in this tick
	stride uint32 // one of so many is picked; 0: all
}

// pick reports whether to time the request that came now.
func (s *sampler) pick(now ticks) bool {
	switch now {
	case s.tick:
	case s.tick + 1:
		s.tick, s.seen, s.stride = now, 0, s.seen/timedPerTick
	default:
		*s = sampler{tick: now}
	}
	s.seen++
	return s.stride < 2 || s.seen%s.stride == 0
}

// timing is the one request of a socket whose reply is timed. To time one at a time
// costs the same however many are under way.
type timing struct {
	// guarded by conn.mu
	active  bool          // its reply has not come yet
	since   ticks         // when it began
	begin   time.Duration // when its message was read, since clock
	observe Observer      // of its route
	id      []byte
	start   []byte // what a reply by package envelope begins with, see startOf
}

// timedReply is a reply that was timed until it came, and is about to be written.
type timedReply struct {
	observe         Observer // nil: there is none
	begin, answered time.Duration
}

// time begins to time the reply to a message, if that is picked and no other one is
// timed already.
// Only the read loop calls it.
func (c *conn) time(to *target, id []byte) {
	if to.observe == nil || len(id) == 0 {
		return
	}
	now := c.g.wheel.time()
	if !c.sampler.pick(now) {
		return
	}
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
	t.active, t.since, t.observe = true, now, to.observe
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
	if t := c.timing; bytes.Equal(t.id, id) {
		t.active = false
	}
}

// waitsFor reports whether payload is the reply that is timed. conn.mu is held.
func (t *timing) waitsFor(e envelope.Encoding, payload []byte) bool {
	if t == nil || !t.active {
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

// answered ends the timing: its reply has come. From then on the next request may be
// timed, since the client may send it before the writer is back from writing this
// reply. conn.mu is held.
func (t *timing) answered() timedReply {
	t.active = false
	return timedReply{t.observe, t.begin, time.Since(clock)}
}

// written is told that the reply was written.
func (r timedReply) written() { r.observe(r.answered-r.begin, time.Since(clock)-r.begin) }
