package link

import (
	"errors"
	"fmt"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Handler takes what a [Mesh] receives. For one peer the calls come one at a
// time; for different peers they may overlap (the loopback, timers and the inbox
// have a goroutine each). A Handler must not block, and must not call the
// blocking [Link.Send].
type Handler interface {
	// Frame takes the next frame of a peer. It may keep frame, which shares its
	// memory with the rest of the batch that it came in.
	Frame(from wire.Incarnation, frame []byte)
	// Reset says that the link to peer broke in both directions. No frame sent by
	// the peer before its side of the break follows. Until Reset returns, the link
	// refuses frames with ErrReset.
	Reset(peer wire.Incarnation, r Reset)
}

// Reset describes the end of a link's life in both directions.
type Reset struct {
	// LastAcked numbers the last frame that the peer is known to have received,
	// counted from 1 since the link began or was last reset. Later ones may or may
	// not have been delivered.
	LastAcked uint64
	// LastSent numbers the last frame that Send or SendControl accepted.
	LastSent uint64
	// Cause says what broke the link.
	Cause Cause
}

// Cause says why a link was reset. Its String is the metric label.
type Cause uint8

// The causes of a reset.
const (
	CauseTimeout    Cause = iota + 1 // nothing was acknowledged for Config.ResetAfter
	CausePeer                        // the peer reset its side
	CauseSuperseded                  // a later incarnation of the same node was met
	CauseForgotten                   // Mesh.Forget was called
	CauseOverflow                    // control frames passed Config.ControlBytes
	CauseLostState                   // the peer speaks of frames that this side never saw
)

var causeNames = [...]string{"", "timeout", "peer", "superseded", "forgotten", "overflow", "lost_state"}

// String returns the name of the cause.
func (c Cause) String() string {
	if int(c) < len(causeNames) && c > 0 {
		return causeNames[c]
	}
	return fmt.Sprintf("cause_%d", uint8(c))
}

// The errors of Send and SendControl.
var (
	// ErrReset means that the link was reset before the frame was accepted.
	ErrReset = errors.New("link: reset")
	// ErrGone is an ErrReset after which the link never works again: a later
	// incarnation of the peer's node is known.
	ErrGone = fmt.Errorf("%w: the peer was replaced by a later incarnation", ErrReset)
	// ErrClosed means that Mesh.Run has ended.
	ErrClosed = errors.New("link: the mesh is closed")
	// ErrTooBig means that the frame can never be carried: see [Mesh.MaxFrame].
	ErrTooBig = errors.New("link: frame too big")
)
