package gateway

import (
	"bufio"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Opcodes of the frames that a client may send. Those of messages are the values
// of [wire.MessageType].
const (
	opcodeContinuation = 0x0
	opcodeClose        = 0x8
	opcodePing         = 0x9
	opcodePong         = 0xa

	opcodeMask  = 0x0f
	controlBit  = 0x08 // of an opcode
	rsv1        = 0x40 // the message is compressed
	rsv2, rsv3  = 0x20, 0x10
	maskedBit   = 0x80
	maxControl  = 125 // bytes of a control frame's payload
	maskLength  = 4
	minReadSize = 512 // of a read buffer: a control frame must fit
)

// frameReader takes a client's frames apart (RFC 6455, section 5). Lengths are
// only what the client says: whoever reads a payload limits it.
type frameReader struct {
	r       *bufio.Reader
	deflate bool // messages may be compressed; does not change

	begun bool // a byte of a frame has come, and the frame, or its message, is not complete
	open  bool // a message has begun, and its final frame has not

	// the frame under way
	op         byte
	fin        bool
	compressed bool
	left       int64 // bytes of the payload that are unread
	mask       [maskLength]byte
	masked     int // bytes of the payload that are read
}

// protocolError says how a client broke the WebSocket protocol.
type protocolError string

func (e protocolError) Error() string { return "websocket: " + string(e) }

// next skips what is left of a frame and reads the header of the one behind it.
func (f *frameReader) next() error {
	for f.left > 0 {
		n, err := f.r.Discard(int(min(f.left, math.MaxInt32)))
		f.left -= int64(n)
		if err != nil {
			return err
		}
	}
	if _, err := f.r.Peek(1); err != nil { // this may take for ever, the rest may not
		return err
	}
	f.begun = true
	b, err := f.r.Peek(2)
	if err != nil {
		return err
	}
	if err := f.start(b[0], b[1]); err != nil {
		return err
	}
	size := 2 + maskLength
	switch f.left {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if b, err = f.r.Peek(size); err != nil {
		return err
	}
	if err := f.length(b[2 : size-maskLength]); err != nil {
		return err
	}
	f.mask, f.masked = [maskLength]byte(b[size-maskLength:]), 0
	_, err = f.r.Discard(size)
	return err
}

// start takes the first two bytes of a header.
func (f *frameReader) start(first, second byte) error {
	f.op, f.fin = first&opcodeMask, first&final != 0
	f.left = int64(second &^ maskedBit)
	compressed := first&rsv1 != 0
	switch {
	case first&(rsv2|rsv3) != 0:
		return protocolError("a reserved bit is set")
	case second&maskedBit == 0:
		return protocolError("a frame is not masked")
	case compressed && !f.deflate:
		return protocolError("a frame is compressed, which was not agreed on")
	}
	switch f.op {
	case byte(wire.Text), byte(wire.Binary):
		if f.open {
			return protocolError("a message begins within another")
		}
		f.open, f.compressed = !f.fin, compressed
		return nil
	case opcodeContinuation:
		if !f.open {
			return protocolError("a continuation of no message")
		}
		f.open = !f.fin
	case opcodeClose, opcodePing, opcodePong:
		if !f.fin {
			return protocolError("a control frame is fragmented")
		}
		if f.left > maxControl {
			return protocolError("a control frame is too long")
		}
	default:
		return protocolError("an unknown opcode")
	}
	if compressed {
		return protocolError("a frame is compressed that must not be")
	}
	return nil
}

// length takes the extended payload length: no, 2 or 8 bytes.
func (f *frameReader) length(b []byte) error {
	var n, least uint64
	switch len(b) {
	case 0:
		return nil
	case 2:
		n, least = uint64(binary.BigEndian.Uint16(b)), 126
	default:
		n, least = binary.BigEndian.Uint64(b), 1<<16
	}
	if n < least || n > math.MaxInt64 {
		return protocolError("a malformed length")
	}
	f.left = int64(n)
	return nil
}

// control reports whether the frame is a control frame.
func (f *frameReader) control() bool { return f.op&controlBit != 0 }

// messageType is the type of the message that the frame begins.
func (f *frameReader) messageType() wire.MessageType { return wire.MessageType(f.op) }

// read reads from the payload of the frame, of which something must be left.
func (f *frameReader) read(p []byte) (int, error) {
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.unmask(p[:n])
	return n, err
}

// payload reads the payload of a control frame. It is valid until the next read.
func (f *frameReader) payload() ([]byte, error) {
	b, err := f.r.Peek(int(f.left))
	if err != nil {
		return nil, err
	}
	_, err = f.r.Discard(len(b))
	f.unmask(b)
	return b, err
}

// unmask takes the next bytes of the payload.
func (f *frameReader) unmask(b []byte) {
	n := len(b)
	var key [2 * maskLength]byte
	for i := range key {
		key[i] = f.mask[(f.masked+i)%maskLength]
	}
	for word := binary.NativeEndian.Uint64(key[:]); len(b) >= len(key); b = b[len(key):] {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= key[i]
	}
	f.left -= int64(n)
	f.masked = (f.masked + n) % maskLength
}

// closedError is the close frame of a client, as the error that ends reading.
type closedError struct {
	status wire.CloseCode
	reason string
}

func (closedError) Error() string { return "websocket: the client closed" }

// parseClose reads the payload of a close frame.
func parseClose(b []byte) error {
	if len(b) == 0 {
		return closedError{status: wire.CloseNoStatus}
	}
	if len(b) == 1 {
		return protocolError("a close frame of one byte")
	}
	c := closedError{wire.CloseCode(binary.BigEndian.Uint16(b)), string(b[2:])}
	switch {
	case sendable(c.status) != c.status: // 1005, 1006 and others that no frame may hold
		return protocolError("a close code that may not be sent")
	case !utf8.ValidString(c.reason):
		return errCloseUTF8
	}
	return c
}
