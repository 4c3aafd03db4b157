package link

import (
	"context"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Link is the connection of this node to one incarnation of a peer, both
// directions. Its methods may be called from any goroutine.
type Link struct {
	// Immutable.
	mesh    *Mesh
	peer    wire.Incarnation
	channel string
	local   bool // the loopback

	// recvMu serialises the calls of the Handler. It is taken before mu.
	recvMu sync.Mutex

	mu        sync.Mutex
	refuse    error // what Send returns; nil while the link works
	over      bool  // refuse is for good: nothing is sent or received any more
	doomed    Cause // the timer goroutine is about to reset the link for this
	scheduled bool  // the bus was told that there is something to send
	active    bool  // the timer goroutine looks after the link

	gen       uint64 // generation: both directions restart with each new one
	confirmed bool   // the peer is known to be in this generation
	num       uint64 // of the last datagram sent
	seen      uint64 // largest number of a datagram received
	seenAt    time.Time
	peerSeen  uint64 // largest number that the peer said it received
	snd       sender
	rcv       receiver
	waiting   waitList
	flushes   []flush

	askDue  bool      // send a question now
	ackDue  bool      // send an acknowledgement now
	ackAt   time.Time // or then; zero: none is owed
	trimAt  time.Time // when to look whether the send buffer can shrink
	tellAt  time.Time // when to tell the peer of the new generation; zero: it knows
	tellFor time.Duration
	rttNum  uint64 // datagram whose round trip is being measured; 0: none
	rttAt   time.Time

	resetAt   time.Time // of the last reset
	forgotten bool      // by Mesh.Forget, and not heard of since
	stats     Stats
}

// flush is a Flush that waits for frame upTo.
type flush struct {
	upTo uint64
	done chan struct{}
}

func newLink(m *Mesh, peer wire.Incarnation) *Link {
	l := &Link{mesh: m, peer: peer, gen: 1, channel: m.cfg.Bus.Channel(peer.Node)}
	l.local = peer == m.cfg.Self
	l.active = l.local // needs no timers
	l.restart(1)
	return l
}

// Peer returns whom the link leads to.
func (l *Link) Peer() wire.Incarnation { return l.peer }

// Send copies head and payload as one frame, to be delivered after everything
// that was sent before. While the window is full it blocks; blocked Sends are
// served in the order of their calls. The error is [ErrReset] if the link was
// reset meanwhile, [ErrGone], [ErrClosed], [ErrTooBig] or the cause of ctx's end;
// the frame was then not accepted. ctx matters only while Send blocks.
func (l *Link) Send(ctx context.Context, head, payload []byte) error {
	if len(head)+len(payload) > l.mesh.maxFrame {
		return ErrTooBig
	}
	l.mu.Lock()
	if l.refuse != nil {
		defer l.mu.Unlock()
		return l.refuse
	}
	if l.waiting.n > 0 || !l.snd.fits(len(head)+len(payload)) {
		return l.wait(ctx, head, payload)
	}
	l.push(head, payload)
	return nil
}

// SendControl copies head as one frame, in order with Send, and never blocks: it
// may go beyond the window, by Config.ControlBytes in all. The caller makes sure
// that it has few such frames; beyond that the link is reset. The errors are
// those of Send.
func (l *Link) SendControl(head []byte) error {
	if len(head) > l.mesh.maxFrame {
		return ErrTooBig
	}
	l.mu.Lock()
	if l.refuse != nil {
		defer l.mu.Unlock()
		return l.refuse
	}
	if l.snd.overflows(len(head)) {
		l.doom(CauseOverflow)
		l.mu.Unlock()
		return ErrReset
	}
	l.push(head, nil)
	return nil
}

// push accepts a frame. The caller holds l.mu, which push releases.
func (l *Link) push(head, payload []byte) {
	l.snd.push(head, payload)
	if !l.active {
		l.arm(time.Time{})
	}
	l.unlock()
}

// unlock releases l.mu, after it told the bus if there is something to send.
func (l *Link) unlock() {
	wake := !l.scheduled && l.sendable()
	if wake {
		l.scheduled = true
	}
	l.mu.Unlock()
	switch {
	case !wake:
	case l.local:
		signal(l.mesh.loopWake)
	default:
		l.mesh.cfg.Bus.Ready((*outlet)(l))
	}
}

// sendable reports whether Next would produce a datagram.
func (l *Link) sendable() bool {
	return !l.over && (l.snd.ready() || l.askDue || l.ackDue)
}

// touched reports whether a frame went either way in this generation.
func (l *Link) touched() bool { return l.snd.last > 0 || l.rcv.last > 0 }

// arm makes the timer goroutine look at the link at t or earlier. The caller
// holds l.mu.
func (l *Link) arm(t time.Time) {
	if l.local || l.over {
		return
	}
	first := !l.active
	l.active = true
	l.mesh.timers.arm(l, first, t)
}

// doom leaves it to the timer goroutine to reset the link, and refuses frames
// until then. The caller holds l.mu.
func (l *Link) doom(cause Cause) {
	if l.over {
		return
	}
	if l.doomed == 0 {
		l.mesh.timers.doom(l)
	}
	if l.doomed == 0 || cause == CauseSuperseded { // which alone is for good
		l.doomed = cause
	}
	l.refuse = ErrReset
}

// flushed returns a channel that is closed when all frames accepted so far are
// acknowledged or lost to a reset; nil if there are none.
func (l *Link) flushed() <-chan struct{} {
	l.mu.Lock()
	defer l.unlock()
	if l.over || l.snd.frames == 0 {
		return nil
	}
	f := flush{upTo: l.snd.last, done: make(chan struct{})}
	l.flushes = append(l.flushes, f)
	l.askDue = l.askDue || !l.local && l.snd.sent == l.snd.last
	return f.done
}

// endFlushes wakes the flushes that are complete; all of them if the frames they
// wait for were lost.
func (l *Link) endFlushes(all bool) {
	kept := l.flushes[:0]
	for _, f := range l.flushes {
		if all || f.upTo <= l.snd.acked {
			close(f.done)
		} else {
			kept = append(kept, f)
		}
	}
	l.flushes = kept
}

// Stats returns the link's numbers.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.FramesSent += l.snd.last
	s.Generation = l.gen
	s.UnackedFrames, s.UnackedBytes = l.snd.frames, l.snd.bytes
	s.Waiting = l.waiting.n
	s.HeldBytes = l.rcv.bytes
	s.Unsubscribed = l.snd.unsubscribed
	return s
}
