package link

import "time"

// Hooks are called as things happen, at most a few times per datagram, with
// internal locks held: they must be quick and must not call into this package.
// Any of them may be nil.
type Hooks struct {
	// Sent is called when a batch leaves for the first time.
	Sent func(frames, bytes int)
	// Received is called when frames are handed to the Handler.
	Received func(frames, bytes int)
	// Retransmitted is called when a batch leaves again.
	Retransmitted func(frames, bytes int)
	// Duplicate is called when frames arrive that had arrived before.
	Duplicate func(frames int)
	// Gap is called when a receiver notices missing frames.
	Gap func(frames int)
	// Probed is called when a sender asks a silent or unsubscribed peer.
	Probed func()
	// Rejected is called for every datagram that is not used.
	Rejected func(Rejection)
	// WindowFull is called when a Send that had to wait is over.
	WindowFull func(waited time.Duration)
	// RTT is called with measured times from a datagram's departure to the
	// arrival of its acknowledgement, less the time that the peer held it back.
	RTT func(time.Duration)
	// Reset is called at each reset of a link.
	Reset func(Cause)
}

func call(f func()) {
	if f != nil {
		f()
	}
}

func call1(f func(int), n int) {
	if f != nil {
		f(n)
	}
}

func call2(f func(frames, bytes int), frames, bytes int) {
	if f != nil {
		f(frames, bytes)
	}
}

// Rejection names why a datagram was not used. It is the metric label.
type Rejection string

// The reasons to reject a datagram.
const (
	RejectMalformed     Rejection = "malformed"      // not a datagram of this version
	RejectForged        Rejection = "forged"         // not signed with a key of this node
	RejectOwn           Rejection = "own"            // sent under this node's own name
	RejectOtherEpoch    Rejection = "other_epoch"    // addressed to another incarnation of this node
	RejectOldEpoch      Rejection = "old_epoch"      // from an incarnation that was replaced
	RejectOldGeneration Rejection = "old_generation" // sent before the link was reset
	RejectTooManyPeers  Rejection = "too_many_peers" // over Config.MaxPeers
	RejectOverflow      Rejection = "overflow"       // out of order beyond the window
)
