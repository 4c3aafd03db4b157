package gateway

import (
	"slices"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// A Gateway and its connections as package push sees them.
var (
	_ push.Local      = (*Gateway)(nil)
	_ push.Connection = (*conn)(nil)
)

// Receiver implements [push.Local].
func (g *Gateway) Receiver(id wire.SocketID) push.Receiver {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.sockets[id]; c != nil {
		return c
	}
	return nil
}

// Receivers implements [push.Local].
func (g *Gateway) Receivers(f func(push.Receiver)) {
	for _, c := range g.connections() {
		f(c)
	}
}

// SocketID implements [push.Receiver].
func (c *conn) SocketID() wire.SocketID { return c.id }

// Encoding implements [push.Receiver].
func (c *conn) Encoding() envelope.Encoding { return c.encoding }

// Describe implements [push.Connection].
func (c *conn) Describe() push.Socket {
	return push.Socket{
		ID: string(c.id), User: c.User(), Gateway: c.g.name, Encoding: c.encoding.String(),
		RemoteAddr: c.client.remoteAddr, ConnectedAt: c.opened,
	}
}

// Disconnect implements [push.Connection].
func (c *conn) Disconnect(code wire.CloseCode, reason string) bool {
	c.mu.Lock()
	ending := c.state >= connClosing
	c.mu.Unlock()
	c.end(causeDisconnected.endingWith(code, reason))
	return !ending
}

// line is the pushes for one connection that are not written yet. It is guarded by
// conn.mu.
type line struct {
	// What pushes cost, in the unit of wire.Data.Cost: queued in the outbox, in the
	// write that is under way, and in waiting.
	queued, flushing, held int
	waiting                []waitingPush // behind what is queued, in order; empty unless a writer runs
}

type waitingPush struct {
	d       *push.Delivery
	payload []byte // shared with other connections
}

func (w waitingPush) cost() int { return len(w.payload) + wire.DataOverhead }

const (
	// maxWaiting is how many pushes may wait for one connection.
	maxWaiting = 1024
	// maxHeld is of how many push windows they may be, and the last one beyond.
	maxHeld = 4
)

// crowded reports whether no further push may wait.
func (l *line) crowded(window int) bool {
	return len(l.waiting) >= maxWaiting || l.held >= maxHeld*window
}

// prune forgets the pushes whose time is over.
func (l *line) prune() {
	l.waiting = slices.DeleteFunc(l.waiting, func(w waitingPush) bool {
		if w.d.Policy == wire.PolicyLatest || !w.d.Over() {
			return false
		}
		l.held -= w.cost()
		return true
	})
}

// Push implements [push.Receiver].
func (c *conn) Push(d *push.Delivery, payload []byte) push.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= connClosing || c.broken {
		return push.Closed
	}
	l := c.pushes
	if l == nil {
		l = &line{}
		c.pushes = l
	}
	w := waitingPush{d, payload}
	window := c.g.cfg.PushWindow
	if l.crowded(window) {
		l.prune()
	}
	full := l.queued+l.flushing+l.held >= window
	latest := d.Policy == wire.PolicyLatest
	switch {
	case len(l.waiting) == 0 && !full && !(latest && c.writing):
		c.queuePush(w)
		l.queued += w.cost()
		c.startWriter()
		return push.Delivered
	case latest:
		if !l.replace(d.Key) && (full || l.crowded(window)) {
			return push.Slow
		}
	case full && d.Policy == wire.PolicyDrop, l.crowded(window):
		return push.Slow
	}
	l.waiting = append(l.waiting, w)
	l.held += w.cost()
	if latest {
		return push.Queued
	}
	return push.Waiting
}

// queuePush puts a push into the outbox. mu is held.
func (c *conn) queuePush(w waitingPush) {
	at := 0
	if c.out != nil {
		at = len(c.out.b)
	}
	c.queueFrame(final|byte(c.encoding.MessageType()), w.payload)
	c.out.messages++
	if c.in.deflate && len(w.payload) >= compressFrom {
		c.out.shared = append(c.out.shared, sharedFrame{at, w.d})
	}
}

// replace removes the push with PolicyLatest that has a key, and reports whether
// there was one.
func (l *line) replace(key string) bool {
	at := slices.IndexFunc(l.waiting, func(w waitingPush) bool { return w.d.Policy == wire.PolicyLatest && w.d.Key == key })
	if at < 0 {
		return false
	}
	w := l.waiting[at]
	l.held -= w.cost()
	l.waiting = slices.Delete(l.waiting, at, at+1)
	w.d.Lost(wire.DropConflated)
	return true
}

// advance accounts for the end of a write and the begin of the next, and moves pushes
// that waited into the latter. mu is held.
func (l *line) advance(c *conn) {
	l.flushing, l.queued = l.queued, 0
	n := 0
	for ; n < len(l.waiting) && l.flushing < c.g.cfg.PushWindow && !c.broken; n++ {
		w := l.waiting[n]
		l.held -= w.cost()
		if w.d.Policy == wire.PolicyLatest || w.d.Take() {
			c.queuePush(w)
			l.flushing += w.cost()
		}
	}
	if l.waiting = slices.Delete(l.waiting, 0, n); len(l.waiting) == 0 {
		l.waiting = nil // let the array go
	}
}

// dropPushes forgets the pushes that wait: the connection ends. mu is held.
func (c *conn) dropPushes() {
	l := c.pushes
	if l == nil {
		return
	}
	for _, w := range l.waiting {
		if w.d.Policy == wire.PolicyLatest {
			w.d.Lost(wire.DropClosed)
		} else {
			w.d.Drop(push.Closed)
		}
	}
	l.waiting, l.held = nil, 0
}
