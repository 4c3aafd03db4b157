package link

import "time"

// outlet is the side of a Link that the bus sees: its Source.
type outlet Link

// Destination is the inbox channel of the peer.
func (o *outlet) Destination() string { return o.channel }

// Next appends the next datagram: a batch if one may leave, otherwise a question
// or an acknowledgement if one is due. Every datagram carries the acknowledgement.
func (o *outlet) Next(buf []byte) (out []byte, more bool) {
	l := (*Link)(o)
	hooks := &l.mesh.cfg.Hooks
	now := l.mesh.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.sendable() {
		l.scheduled = false
		return buf, false
	}
	l.num++
	start := len(buf)
	b, again := l.snd.next(l.num, now)

	var spans [maxSpans]span
	h := header{
		epoch: l.mesh.cfg.Self.Epoch, to: l.peer.Epoch, gen: l.gen, num: l.num, seen: l.seen,
		ack: l.rcv.cum, known: l.snd.acked, last: l.snd.sent, missing: l.rcv.missing(spans[:0], maxSpans),
		sync: l.askDue || b != nil && l.snd.crowded(l.num, l.peerSeen),
	}
	if l.seen > 0 {
		h.age = uint64(max(now.Sub(l.seenAt).Microseconds(), 0))
	}
	if n := len(l.flushes); n > 0 && b != nil && l.snd.sent >= l.flushes[n-1].upTo {
		h.sync = true
	}
	if l.askDue {
		l.stats.Probes++
		call(hooks.Probed)
	}
	l.askDue, l.ackDue, l.ackAt = false, false, time.Time{}
	if b == nil {
		buf = appendHeader(buf, l.mesh.cfg.Self.Node, &h)
	} else {
		h.count, h.first = b.count, b.first
		buf = appendHeader(buf, l.mesh.cfg.Self.Node, &h)
		buf = l.snd.data.appendTo(buf, b.pos, b.size)
		l.countSent(b, again)
		l.arm(l.snd.askAt)
		if l.rttNum == 0 {
			l.rttNum, l.rttAt = l.num, now
		}
	}
	if s := l.mesh.signer; s != nil {
		buf = s.sign(buf, start, l.peer.Node)
	}
	l.scheduled = l.sendable()
	return buf, l.scheduled
}

func (l *Link) countSent(b *batch, again bool) {
	hooks := &l.mesh.cfg.Hooks
	if again {
		l.stats.Retransmitted++
		call2(hooks.Retransmitted, b.count, b.size)
		return
	}
	l.stats.BatchesSent++
	l.stats.BytesSent += uint64(b.size)
	call2(hooks.Sent, b.count, b.size)
}

// Published takes note of who the last datagram was handed to. An error says
// nothing about its fate: silence, and the question that follows it, will tell.
func (o *outlet) Published(receivers int64, err error) {
	if err != nil || receivers < 0 {
		return
	}
	l := (*Link)(o)
	l.mu.Lock()
	if receivers > 0 {
		l.snd.unsubscribed = false
	} else {
		l.snd.nobody(l.num)
	}
	l.unlock()
}
