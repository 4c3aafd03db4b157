package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what a frame is. On the wire its byte may carry [FromAcceptor].
type Kind byte

// The kinds of frames.
const (
	KindOpen    Kind = 1 // opener -> acceptor: a socket's first message for a service follows
	KindData    Kind = 2 // both: one client message, or one reply or push
	KindCredit  Kind = 3 // both: the receiver of Data allows more of it
	KindClose   Kind = 4 // both: the socket ends (opener), or shall end (acceptor)
	KindClosed  Kind = 5 // acceptor -> opener: close handlers have run; the stream is over
	KindRelease Kind = 6 // acceptor -> opener: hand the socket back, the instance drains
	KindRefuse  Kind = 7 // acceptor -> opener: the stream was not accepted
	// KindIdentity tells who the client is from now on, opener -> acceptor.
	KindIdentity Kind = 8

	KindCommand    Kind = 9  // acceptor -> opener: a handler's wish about the socket; opener -> acceptor: its result
	KindPush       Kind = 10 // node -> gateway's node: a message for its sockets; the stream id numbers it
	KindPushResult Kind = 11 // the answer to a Push
	KindRequest    Kind = 12 // node -> node: a question; the stream id numbers it
	KindResponse   Kind = 13 // the answer to a Request
	KindWatch      Kind = 14 // node -> gateway's node: tell who is in a group
	KindPresence   Kind = 15 // gateway's node -> node that watches: who is, who comes, who leaves

	lastKind = KindPresence
)

// FromAcceptor is set in the kind byte of frames that travel from the acceptor
// of a stream to its opener: the same stream id may be in use in both directions
// between two nodes that both open streams.
const FromAcceptor = 0x80

// MessageType is the WebSocket opcode of a data message.
type MessageType byte

// The message types, with the values of RFC 6455.
const (
	Text   MessageType = 1
	Binary MessageType = 2
)

// MaxHead is the most bytes that a frame's kind, stream id and fixed fields take
// ahead of any variable part.
const MaxHead = 1 + binary.MaxVarintLen64 + 16

// ErrFrame is wrapped by every parse error of this package.
var ErrFrame = errors.New("malformed frame")

// Header is the part that all frames share.
type Header struct {
	Kind         Kind
	FromAcceptor bool
	Stream       StreamID
}

// Append writes the header.
func (h Header) Append(b []byte) []byte {
	k := byte(h.Kind)
	if h.FromAcceptor {
		k |= FromAcceptor
	}
	return binary.AppendUvarint(append(b, k), uint64(h.Stream))
}

// ParseHeader reads the header of a frame and returns the body after it.
func ParseHeader(b []byte) (h Header, body []byte, err error) {
	if len(b) == 0 {
		return h, nil, fmt.Errorf("%w: empty", ErrFrame)
	}
	h.Kind = Kind(b[0] &^ FromAcceptor)
	h.FromAcceptor = b[0]&FromAcceptor != 0
	if h.Kind < KindOpen || h.Kind > lastKind {
		return h, nil, fmt.Errorf("%w: unknown kind %d", ErrFrame, h.Kind)
	}
	id, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return h, nil, fmt.Errorf("%w: stream id", ErrFrame)
	}
	h.Stream = StreamID(id)
	return h, b[1+n:], nil
}
