package redisbus

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
)

// canary publishes to a channel of its own and waits for its return: the only proof
// that the writer and the reader are connected to the same Redis. It is signed with a
// key that never leaves the process: who reads and publishes on its channel cannot make
// up one that keeps this node healthy.
type canary struct {
	every, limit time.Duration
	channel      string
	ready        func(link.Source)   // schedules it
	returned     func(time.Duration) // may be nil

	key   [32]byte  // signs our canaries; nobody else has it, an earlier start of this node included
	start time.Time // what the times below count from

	proven chan struct{} // closed at the first return

	sent atomic.Int64 // when the youngest returned canary was sent, in ns since start; 0: none
}

func newCanary(cfg Config, channel string, ready func(link.Source)) *canary {
	c := &canary{
		every: cfg.CanaryEvery, limit: cfg.SilenceLimit, channel: channel, ready: ready,
		returned: cfg.Hooks.Canary, start: time.Now(), proven: make(chan struct{}),
	}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

func (c *canary) run(ctx context.Context) {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.ready(c)
		}
	}
}

func (c *canary) age() time.Duration {
	sent := c.sent.Load()
	if sent == 0 {
		return never
	}
	return time.Since(c.start) - time.Duration(sent)
}

// stale reports whether the canary should have returned to a subscription that
// began at since.
func (c *canary) stale(since time.Time) bool {
	return time.Since(since) > c.limit && c.age() > c.limit
}

// Destination implements [link.Source].
func (c *canary) Destination() string { return c.channel }

// Next implements [link.Source].
func (c *canary) Next(buf []byte) ([]byte, bool) {
	sent := binary.BigEndian.AppendUint64(nil, uint64(time.Since(c.start)))
	return append(append(buf, sent...), c.tag(sent)...), false
}

// canaryTime is how many bytes of a canary say when it was sent. The rest is its tag.
const canaryTime = 8

// tag signs a canary.
func (c *canary) tag(sent []byte) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(sent)
	return h.Sum(nil)
}

// Published implements [link.Source]. Only the return counts.
func (c *canary) Published(int64, error) {}

// Datagram implements [link.Receiver].
func (c *canary) Datagram(b []byte) {
	if len(b) < canaryTime || !hmac.Equal(b[canaryTime:], c.tag(b[:canaryTime])) {
		return
	}
	sent := int64(binary.BigEndian.Uint64(b))
	last := c.sent.Load()
	if sent <= last { // one goroutine stores, so that nothing comes between
		return
	}
	c.sent.Store(sent)
	if last == 0 {
		close(c.proven)
	}
	if c.returned != nil {
		c.returned(time.Since(c.start) - time.Duration(sent))
	}
}

// Gap implements [link.Receiver]: a new subscription is tried out at once.
func (c *canary) Gap() { c.ready(c) }
