package push

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Outcome is what a connection did with a push.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota // it is in what will be written next
	Queued                   // it is in line, and counts as such; a later one may replace it
	Waiting                  // it is in line; the connection will say Take or Drop
	Slow                     // dropped: the client does not keep up
	Closed                   // dropped: the connection is ending
)

// Delivery is one push on its way to the connections of this node.
type Delivery struct {
	// Policy says what to do when the client does not keep up.
	Policy wire.Policy
	// Key is what a later push with PolicyLatest replaces.
	Key string

	hub    *Hub
	push   wire.Push
	answer func(wire.PushResult)
	frames [3]frame // by encoding
	shared [3]struct {
		once sync.Once
		b    []byte
	} // by encoding

	mu      sync.Mutex
	waiting int             // guarded by mu: connections that have not said Take or Drop, and 1 for the fan-out
	over    bool            // guarded by mu: the result is made
	result  wire.PushResult // guarded by mu
	timer   *time.Timer     // guarded by mu
}

// frame is a push in one encoding.
type frame struct {
	made    bool
	ok      bool
	payload []byte
}

// Take says that a connection which answered Waiting is about to write the message.
// It reports false if it must not: the time is over.
func (d *Delivery) Take() bool { return d.settle(Delivered) }

// Drop says that a connection which answered Waiting will not write the message.
func (d *Delivery) Drop(o Outcome) { d.settle(o) }

// Lost says that a connection which answered Queued will not write the message.
func (d *Delivery) Lost(reason wire.DropReason) { d.hub.hooks.Load().Dropped(reason, 1) }

// Once returns what build has made of the message in an encoding. It is called once, for
// all connections of this node with that encoding.
func (d *Delivery) Once(e envelope.Encoding, build func() []byte) []byte {
	s := &d.shared[e]
	s.once.Do(func() { s.b = build() })
	return s.b
}

// Over reports whether Take would report false.
func (d *Delivery) Over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *Delivery) settle(o Outcome) bool {
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		return false
	}
	d.count(o)
	done := d.release()
	d.mu.Unlock()
	if done != nil {
		go done() // the caller may hold locks
	}
	return true
}

// count adds an outcome to the result. mu is held.
func (d *Delivery) count(o Outcome) {
	switch o {
	case Delivered:
		d.result.Delivered++
	case Queued:
		d.result.Queued++
	case Waiting:
		d.waiting++
	case Slow:
		d.drop(wire.DropSlow, 1)
	default:
		d.drop(wire.DropClosed, 1)
	}
}

// drop counts sockets that do not get the message. mu is held.
func (d *Delivery) drop(reason wire.DropReason, n uint32) {
	d.hub.hooks.Load().Dropped(reason, int(n))
	for i := range d.result.Dropped {
		if d.result.Dropped[i].Reason == reason {
			d.result.Dropped[i].Count += n
			return
		}
	}
	d.result.Dropped = append(d.result.Dropped, wire.PushDrop{Reason: reason, Count: n})
}

// release says that one thing less is waited for. mu is held; the caller runs what is
// returned when it has released it.
func (d *Delivery) release() func() {
	if d.waiting--; d.waiting > 0 {
		return nil
	}
	return d.finish()
}

func (d *Delivery) finish() func() {
	d.over = true
	if d.timer != nil {
		d.timer.Stop()
	}
	result := d.result
	return func() { d.answer(result) }
}

// expire drops the message for all connections that are still in its way.
func (d *Delivery) expire() {
	d.mu.Lock()
	var done func()
	if !d.over {
		d.drop(wire.DropTimeout, uint32(d.waiting))
		done = d.finish()
	}
	d.mu.Unlock()
	if done != nil {
		done()
	}
}

// inbound is the pushes of one peer that wait to be delivered, in order.
type inbound struct {
	queue []inboundPush
	bytes int
}

type inboundPush struct {
	number wire.StreamID
	body   []byte
}

// maxInbound is how many bytes of pushes of one sender may wait to be delivered. A
// sender stops at a quarter of it.
const maxInbound = 4 * maxFlight

// received takes a push of another node. What it is for may be many connections, so
// another goroutine hands it to them.
func (h *Hub) received(from wire.Incarnation, number wire.StreamID, body []byte) {
	h.mu.Lock()
	in := h.inbound[from]
	idle := in == nil
	if idle {
		in = &inbound{}
		h.inbound[from] = in
	}
	full := in.bytes+len(body) > maxInbound && !idle
	if !full {
		in.queue = append(in.queue, inboundPush{number, body})
		in.bytes += len(body)
	}
	h.mu.Unlock()
	switch {
	case full:
		h.hooks.Load().Dropped(wire.DropOverload, 1)
		h.result(from, number, wire.PushResult{Dropped: []wire.PushDrop{{Reason: wire.DropOverload, Count: 1}}})
	case idle:
		go h.deliverAll(from, in)
	}
}

// deliverAll delivers the pushes of a peer until none is left.
func (h *Hub) deliverAll(from wire.Incarnation, in *inbound) {
	var scratch []Receiver
	for {
		h.mu.Lock()
		batch := in.queue
		in.queue, in.bytes = nil, 0
		if len(batch) == 0 {
			delete(h.inbound, from)
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		for _, p := range batch {
			scratch = h.deliver(from, p, scratch[:0])
		}
		clear(scratch)
	}
}

// deliver delivers one push. It uses and returns scratch.
func (h *Hub) deliver(from wire.Incarnation, in inboundPush, scratch []Receiver) []Receiver {
	start := time.Now()
	p, err := wire.ParsePush(in.body)
	if err != nil {
		h.log.Load().Error("a push cannot be read; does its sender run another version?", "from", from, "err", err)
		h.hooks.Load().Dropped(wire.DropUnreadable, 1)
		h.result(from, in.number, wire.PushResult{Dropped: []wire.PushDrop{{Reason: wire.DropUnreadable, Count: 1}}})
		return scratch
	}
	d := &Delivery{
		Policy: p.Policy, Key: p.Key, hub: h, push: p, waiting: 1,
		answer: func(r wire.PushResult) { h.result(from, in.number, r) },
	}
	receivers := h.receivers(p.Target, scratch)
	if mutantMute != "" && strings.HasPrefix(string(h.bp.Self().Node), mutantMute) {
		receivers = receivers[:0]
	}

	for _, r := range receivers {
		if excepts(&p, r) {
			continue
		}
		d.to(r)
	}
	d.mu.Lock()
	outcomes := d.result
	done := d.release()
	if !d.over {
		d.timer = time.AfterFunc(time.Duration(p.TimeoutMS)*time.Millisecond, d.expire)
	}
	d.mu.Unlock()
	if done != nil {
		done()
	}
	h.hooks.Load().Fanned(p.Target.Kind, int(outcomes.Targeted), int(outcomes.Delivered), int(outcomes.Queued), time.Since(start))
	return receivers
}

// to hands the message to one connection, and returns what this did with it.
func (d *Delivery) to(r Receiver) Outcome {
	payload, ok := d.payload(r.Encoding())
	d.mu.Lock()
	d.result.Targeted++
	if !ok {
		d.drop(wire.DropEncoding, 1)
		d.mu.Unlock()
		return Closed
	}
	d.waiting++ // it may say Take before its answer is counted
	d.mu.Unlock()
	o := r.Push(d, payload)
	d.mu.Lock()
	if o != Waiting {
		d.waiting--
		d.count(o)
	}
	d.mu.Unlock()
	return o
}

// payload returns the message in an encoding, made once. Only the fan-out calls it.
func (d *Delivery) payload(e envelope.Encoding) ([]byte, bool) {
	if int(e) >= len(d.frames) {
		return nil, false
	}
	f := &d.frames[e]
	if !f.made {
		f.made = true
		data, ok := payloadFor(d.push.Data, e)
		if f.ok = ok; ok {
			f.payload = e.AppendMessage(nil, envelope.Message{Path: d.push.Path, Data: data})
		}
	}
	return f.payload, f.ok
}

// receivers appends the connections that a target means on this node to list.
func (h *Hub) receivers(t wire.Target, list []Receiver) []Receiver {
	switch t.Kind {
	case wire.TargetUser, wire.TargetGroup:
		return h.index.receivers(roomKey{t.Kind, t.Name}, list)
	}
	for _, l := range h.gateways() {
		switch {
		case t.Kind == wire.TargetSocket:
			if r := l.Receiver(wire.SocketID(t.Name)); r != nil {
				return append(list, r)
			}
		case t.Kind == wire.TargetAll || t.Name == l.Name():
			l.Receivers(func(r Receiver) { list = append(list, r) })
		}
	}
	return list
}

// result answers a push.
func (h *Hub) result(to wire.Incarnation, number wire.StreamID, r wire.PushResult) {
	_ = h.bp.SendAnswer(to, wire.KindPushResult, number, r.Append(nil)) // on an error the sender's link was reset as well
}

// excepts reports whether a push leaves a connection out.
func excepts(p *wire.Push, r Receiver) bool {
	if len(p.Except) > 0 && slices.Contains(p.Except, r.SocketID()) {
		return true
	}
	if len(p.ExceptUsers) == 0 {
		return false
	}
	u := r.User()
	return u != "" && slices.Contains(p.ExceptUsers, u)
}
