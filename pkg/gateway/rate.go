package gateway

import (
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Scope says what a limit counts for. With a [Limit] it is the metric label.
type Scope string

// The scopes.
const (
	ScopeGateway Scope = "gateway" // this gateway alone
	ScopeSocket  Scope = "socket"  // one connection
	ScopeRoute   Scope = "route"   // one connection's messages to one route
	ScopeAddress Scope = "address" // a client address, over all gateways
	ScopeUser    Scope = "user"    // an authenticated user, over all gateways
)

// Limit names what was too much.
type Limit string

// The limits.
const (
	LimitConnections    Limit = "connections"
	LimitHandshakes     Limit = "handshakes"      // at once
	LimitConnectionRate Limit = "connection_rate" // handshakes per second
	LimitMessageRate    Limit = "message_rate"
	LimitByteRate       Limit = "byte_rate"
	LimitReportRate     Limit = "report_rate"  // of latency, per second
	LimitInFlight       Limit = "in_flight"    // requests without an answer
	LimitMessageBytes   Limit = "message_size" // of one message
	LimitSchema         Limit = "schema"       // data that does not fit
)

// inFlightTimeout is how long a request counts that is never answered.
const inFlightTimeout = time.Minute

// limiter is what one connection has used up. It exists only while something is
// limited.
type limiter struct {
	// owned by the read loop
	now             time.Duration // since the gateway was made, when bytes came last
	stale           bool          // bytes have come since
	messages, bytes quota.Bucket
	reports         quota.Bucket             // of latency
	routes          map[*rules]*quota.Bucket // those in use; see bucket
	judged          time.Duration            // since when the next two are counted
	refused, passed int                      // messages

	// guarded by conn.mu
	pending []request // without an answer, the oldest first
}

// request is what waits for an answer. Several may have the same id.
type request struct {
	id    string
	since ticks
}

// newLimiter returns a connection's limiter, nil if nothing is limited.
func (g *Gateway) newLimiter() *limiter {
	if !g.cfg.MessageRate.Limited() && !g.cfg.ByteRate.Limited() && g.cfg.MaxInFlight <= 0 {
		return nil
	}
	return &limiter{stale: true}
}

// limiter returns the connection's limiter, and makes one if need be.
func (c *conn) limiter() *limiter {
	if c.limits == nil {
		c.limits = &limiter{stale: true}
	}
	return c.limits
}

// clock is the time that limits count by. It is read once for all messages that
// come in one piece.
func (c *conn) clock() time.Duration {
	if l := c.limits; l.stale {
		l.now, l.stale = time.Since(c.g.gate.made), false
	}
	return c.limits.now
}

// overRate takes what a message costs of the socket's rates, and of those that it
// shares with others. It returns the answer
// if that is too much.
func (c *conn) overRate(size int) *envelope.Failure {
	l := c.limits
	if l == nil {
		return c.overQuota(size)
	}
	cfg := &c.g.cfg
	if cfg.MessageRate.Limited() {
		if wait := l.messages.Take(cfg.MessageRate, 1, c.clock()); wait > 0 {
			return c.limited(ScopeSocket, LimitMessageRate, wait)
		}
	}
	if cfg.ByteRate.Limited() {
		if wait := l.bytes.Take(cfg.ByteRate, float64(size), c.clock()); wait > 0 {
			l.messages.Give(1)
			return c.limited(ScopeSocket, LimitByteRate, wait)
		}
	}
	return c.overQuota(size)
}

// limited makes the answer to a message that is over a limit.
func (c *conn) limited(scope Scope, limit Limit, wait time.Duration) *envelope.Failure {
	c.g.hooks.Limited(scope, limit)
	return &envelope.Failure{
		Code:       wire.CodeRateLimited,
		Message:    "this is over the " + string(limit) + " of the " + string(scope) + "; wait before trying again",
		RetryAfter: wait,
	}
}

// abuse notes a message that was refused as too much. It returns an ending if, over
// Config.RateGrace, the client had more refused than not: it sends at twice its rate
// or more and does not heed the answers.
func (c *conn) abuse() ending {
	grace := c.g.cfg.RateGrace
	if grace < 0 {
		return ending{}
	}
	l, now := c.limiter(), c.clock()
	l.refused++
	switch since := now - l.judged; {
	case l.refused > 1 && since < grace:
		return ending{}
	case l.refused > 1 && since <= 2*grace && l.refused > l.passed:
		return causeRateLimited.ending()
	}
	l.judged, l.refused, l.passed = now, 1, 0
	return ending{}
}

// bucket returns what the socket has used of a route's rate. Buckets that are as
// good as new are forgotten, so that only routes in use take memory.
func (l *limiter) bucket(r *rules, now time.Duration) *quota.Bucket {
	b := l.routes[r]
	if b != nil {
		return b
	}
	if n := len(l.routes); n >= manyBuckets && n&(n-1) == 0 {
		for r, b := range l.routes {
			if b.Idle(r.rate, now) {
				delete(l.routes, r)
			}
		}
	}
	if l.routes == nil {
		l.routes = make(map[*rules]*quota.Bucket)
	}
	b = &quota.Bucket{}
	l.routes[r] = b
	return b
}

// manyBuckets is how many routes a socket may use before those that it has not used
// lately are looked for.
const manyBuckets = 16

// begin counts a request. It returns the answer if too many are without one.
func (c *conn) begin(head envelope.Head) *envelope.Failure {
	limit := c.g.cfg.MaxInFlight
	if limit <= 0 || len(head.ID) == 0 || len(head.Path) == 0 {
		return nil
	}
	now := c.g.wheel.time()
	c.mu.Lock()
	l := c.limits
	timeout := c.g.wheel.ticks(inFlightTimeout)
	for len(l.pending) >= limit && now-l.pending[0].since > timeout {
		l.pending = l.pending[1:]
	}
	full := len(l.pending) >= limit
	if !full {
		l.pending = append(l.pending, request{string(head.ID), now})
	}
	c.mu.Unlock()
	if full {
		return c.limited(ScopeSocket, LimitInFlight, time.Second)
	}
	return nil
}

// answered notes that a request has its answer: the oldest with that id. mu is held.
func (c *conn) answered(id []byte) {
	if c.g.cfg.MaxInFlight <= 0 {
		return
	}
	for i, r := range c.limits.pending {
		if r.id == string(id) {
			c.limits.pending = slices.Delete(c.limits.pending, i, i+1)
			return
		}
	}
}

// abandoned notes that no request with that id will have an answer. mu is held.
func (c *conn) abandoned(id string) {
	if c.g.cfg.MaxInFlight > 0 {
		c.limits.pending = slices.DeleteFunc(c.limits.pending, func(r request) bool { return r.id == id })
	}
}
