package backplane

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// StreamHandler takes what arrives on one stream. Its methods are called one at a
// time, from the goroutine that receives from the peer: they must not block, and
// must not call the methods of a Stream that do.
type StreamHandler interface {
	// Frame takes the next frame. It may keep body.
	Frame(kind wire.Kind, body []byte)
	// Reset says, once, that the link to the peer broke: the stream is over, no
	// frame follows, and what was sent last may or may not have arrived.
	Reset(r link.Reset)
}

// Stream is one socket's connection to one service, between the gateway's node that
// opened it and the instance's node that accepted it. Its methods may be called
// from any goroutine; frames leave in the order of the calls.
type Stream struct {
	peer     *peer
	link     *link.Link
	id       wire.StreamID
	acceptor bool // this side accepted the stream

	handler StreamHandler // set before the stream is in a table
	over    atomic.Bool   // reset
}

// heads are buffers for the heads of frames; one on the stack would escape through
// a Send that has to wait.
var heads = sync.Pool{New: func() any { return new([headRoom]byte) }}

// headRoom holds the head of a Data frame with an id of ordinary length.
const headRoom = 128

// ID is the stream's number, unique among all that its opener's incarnation opened.
func (s *Stream) ID() wire.StreamID { return s.id }

// Peer is the incarnation at the other end.
func (s *Stream) Peer() wire.Incarnation { return s.peer.inc }

// SendOpen starts the stream; it must come first, and from the opener. It blocks
// while the link's window is full, and returns [link.ErrReset] after a reset, or
// ctx's error.
func (s *Stream) SendOpen(ctx context.Context, o wire.Open) error {
	if err := s.send(ctx, o.Append(s.head(nil, wire.KindOpen)), nil); err != nil {
		return err
	}
	return s.opened()
}

// opened looks whether the stream is still there after its Open was accepted. If a
// reset came in between, the peer has opened a stream that nobody here knows any
// more, and must be told.
func (s *Stream) opened() error {
	if !s.over.Load() {
		return nil
	}
	end := wire.Close{Status: wire.CloseGoingAway, Source: wire.SourceServer}
	_ = s.link.SendControl(end.Append(s.head(nil, wire.KindClose)))
	return link.ErrReset
}

// SendData sends one message; see [wire.Data]. It copies payload, does not allocate,
// blocks while the link's window is full, and returns [link.ErrReset] after a reset,
// or ctx's error.
func (s *Stream) SendData(ctx context.Context, mt wire.MessageType, id string, payload []byte) error {
	room := heads.Get().(*[headRoom]byte)
	defer heads.Put(room)
	return s.send(ctx, wire.Data{Type: mt, ID: id}.AppendHead(s.head(room[:0], wire.KindData)), payload)
}

// SendCredit allows the peer to send n bytes more. Like all that follow, it never
// blocks, and fails only after a reset.
func (s *Stream) SendCredit(n uint32) error {
	room := heads.Get().(*[headRoom]byte)
	defer heads.Put(room)
	return s.control(wire.Credit{Bytes: n}.Append(s.head(room[:0], wire.KindCredit)))
}

// SendClose ends the stream (opener) or asks to end it (acceptor); see [wire.Close].
func (s *Stream) SendClose(c wire.Close) error {
	return s.control(c.Append(s.head(nil, wire.KindClose)))
}

// SendIdentity tells the acceptor who the client is from now on: what is sent after
// it is that client's.
func (s *Stream) SendIdentity(i wire.Identity) error {
	return s.control(i.Append(s.head(nil, wire.KindIdentity)))
}

// SendClosed tells the opener that the close handlers have run.
func (s *Stream) SendClosed() error { return s.control(s.head(nil, wire.KindClosed)) }

// SendRelease asks the opener to hand the socket to another instance.
func (s *Stream) SendRelease() error { return s.control(s.head(nil, wire.KindRelease)) }

// SendCommand asks the socket's gateway for something (acceptor); see [wire.Command].
func (s *Stream) SendCommand(c wire.Command) error {
	return s.control(c.Append(s.head(nil, wire.KindCommand)))
}

// SendCommandResult answers a command (opener).
func (s *Stream) SendCommandResult(r wire.CommandResult) error {
	return s.control(r.Append(s.head(nil, wire.KindCommand)))
}

// SendRefuse tells the opener that the stream is not accepted.
func (s *Stream) SendRefuse(r wire.Refuse) error {
	return s.control(r.Append(s.head(nil, wire.KindRefuse)))
}

// Done forgets the stream: later frames for it are dropped, and no reset is told. A
// call of the handler that is under way may still be running when Done returns.
func (s *Stream) Done() { s.peer.remove(s) }

func (s *Stream) head(b []byte, k wire.Kind) []byte {
	return wire.Header{Kind: k, FromAcceptor: s.acceptor, Stream: s.id}.Append(b)
}

func (s *Stream) send(ctx context.Context, head, payload []byte) error {
	if s.over.Load() {
		return link.ErrReset
	}
	return s.link.Send(ctx, head, payload)
}

func (s *Stream) control(head []byte) error {
	if s.over.Load() {
		return link.ErrReset
	}
	return s.link.SendControl(head)
}
