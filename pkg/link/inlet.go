package link

import (
	"context"
	"log/slog"
	"time"
)

// receive takes a datagram of the peer that is addressed to this incarnation.
func (l *Link) receive(h *header, body []byte) {
	now := l.mesh.now()
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	l.mu.Lock()
	if !l.admissible(h, now) {
		l.unlock()
		return
	}
	l.confirmed, l.tellAt = true, time.Time{}
	if h.num > l.seen {
		l.seen, l.seenAt = h.num, now
	}
	l.takeAck(h, now)
	l.takeBatch(h, body, now)
	l.unlock()
	l.deliver()
}

// admissible decides whether the datagram belongs to the link's generation, which
// it may be the first to announce.
func (l *Link) admissible(h *header, now time.Time) bool {
	switch {
	case l.over:
		l.mesh.reject(RejectOldEpoch)
		return false
	case h.gen > l.gen && !l.touched():
		l.gen = h.gen
		l.forgotten = false
	case h.gen > l.gen:
		l.reset(CausePeer, h.gen, now)
	case h.gen < l.gen:
		l.stats.Rejected++
		l.mesh.reject(RejectOldGeneration)
		l.ackDue = l.ackDue || !l.confirmed // tells the peer of the new one
		return false
	}
	if h.known > l.rcv.cum || h.ack > l.snd.sent {
		l.reset(CauseLostState, l.gen+1, now)
		return false
	}
	return true
}

// takeAck processes what the datagram says about the frames sent by this side.
func (l *Link) takeAck(h *header, now time.Time) {
	l.peerSeen = max(l.peerSeen, h.seen)
	if l.rttNum != 0 && h.seen >= l.rttNum {
		if rtt := now.Sub(l.rttAt) - time.Duration(h.age)*time.Microsecond; rtt >= 0 {
			l.stats.RTT = rtt
			if f := l.mesh.cfg.Hooks.RTT; f != nil {
				f(rtt)
			}
		}
		l.rttNum = 0
	}
	l.snd.ack(h.ack, now)
	for _, r := range h.missing {
		l.snd.missing(r, h.seen)
	}
	if len(l.flushes) > 0 {
		l.endFlushes(false)
	}
	if l.waiting.n > 0 {
		l.admit()
	}
}

// takeBatch processes the frames of the datagram and decides when to acknowledge.
func (l *Link) takeBatch(h *header, body []byte, now time.Time) {
	hooks := &l.mesh.cfg.Hooks
	known := l.rcv.last
	got := span{first: 1}
	if h.count > 0 {
		g := segment{first: h.first, count: h.count, body: body}
		got = span{g.first, g.end()}
		o := l.rcv.accept(g)
		if o.dup > 0 {
			l.stats.Duplicates += uint64(o.dup)
			call1(hooks.Duplicate, o.dup)
		}
		if o.dropped {
			l.stats.Rejected++
			l.mesh.reject(RejectOverflow)
		}
	}
	gap := l.rcv.announce(h.last, known, got)
	if gap > 0 {
		l.stats.Gaps++
		call1(hooks.Gap, gap)
	}
	switch {
	case h.sync || gap > 0 || h.count > 0 && l.mesh.cfg.AckDelay < 0:
		l.ackDue = true
	case l.ackAt.IsZero() && h.count > 0:
		l.ackAt = now.Add(l.mesh.cfg.AckDelay)
		l.arm(l.ackAt)
	}
	var frames, size int
	for _, g := range l.rcv.ready {
		frames += g.count
		size += len(g.body)
	}
	if frames > 0 {
		l.stats.FramesReceived += uint64(frames)
		l.stats.BytesReceived += uint64(size)
		call2(hooks.Received, frames, size)
	}
}

// keepReady is the most segments that a link keeps room for between datagrams.
const keepReady = 32

// deliver hands ready frames to the Handler. The caller holds recvMu, and not mu.
func (l *Link) deliver() {
	for _, g := range l.rcv.ready {
		var frame []byte
		for body := g.body; len(body) > 0; {
			frame, body = cutFrame(body)
			l.mesh.cfg.Handler.Frame(l.peer, frame)
		}
	}
	clear(l.rcv.ready)
	if l.rcv.ready = l.rcv.ready[:0]; cap(l.rcv.ready) > keepReady {
		l.rcv.ready = nil
	}
}

// reset ends the generation, starts generation gen and tells the Handler. Nothing
// is accepted before the Handler knows: what it then sends is in the new generation,
// and what was accepted before is in the old. The caller holds recvMu and mu; mu is
// released while the Handler runs.
func (l *Link) reset(cause Cause, gen uint64, now time.Time) {
	if l.over {
		return
	}
	if l.doomed == CauseSuperseded {
		cause = CauseSuperseded // the link was taken off the mesh
	}
	r := Reset{LastAcked: l.snd.acked, LastSent: l.snd.last, Cause: cause}
	l.stats.FramesSent += l.snd.last
	l.stats.Resets++
	l.restart(gen)
	l.doomed = 0
	l.resetAt = now
	l.refuse = ErrReset
	switch cause {
	case CauseSuperseded:
		l.refuse, l.over = ErrGone, true
	case CausePeer:
		l.forgotten = false
	default: // the peer must learn of it
		l.confirmed = false
		l.forgotten = cause == CauseForgotten
		l.askDue = true
		l.tellFor = l.mesh.cfg.MinRTO
		l.tellAt = now.Add(l.tellFor)
		l.arm(l.tellAt)
	}
	l.endFlushes(true)
	l.waiting.failAll(ErrReset)
	if f := l.mesh.cfg.Hooks.Reset; f != nil {
		f(cause)
	}
	l.unlock()
	level := slog.LevelWarn
	if (cause == CauseForgotten || cause == CauseSuperseded) && r.LastAcked == r.LastSent {
		level = slog.LevelDebug // the peer left, and nothing was under way to it
	}
	l.mesh.cfg.Logger.Log(context.Background(), level, "link reset", slog.String("peer", l.peer.String()), slog.String("cause", cause.String()),
		slog.Uint64("last_acked", r.LastAcked), slog.Uint64("last_sent", r.LastSent), slog.Uint64("generation", gen))
	l.mesh.cfg.Handler.Reset(l.peer, r)
	l.mu.Lock()
	if !l.over && l.doomed == 0 {
		l.refuse = nil
	}
}

// restart sets both directions to their beginning.
func (l *Link) restart(gen uint64) {
	l.gen = gen
	l.snd = sender{limits: l.mesh.limits}
	l.rcv = receiver{heldLimit: l.mesh.limits.windowBytes, ready: l.rcv.ready[:0]}
	l.askDue, l.ackDue, l.ackAt, l.tellAt, l.rttNum = false, false, time.Time{}, time.Time{}, 0
}
