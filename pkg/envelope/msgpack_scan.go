package envelope

import (
	"encoding/binary"
	"fmt"
)

// msgpackKind is what a value of MessagePack is, as far as skipping it needs.
type msgpackKind uint8

const (
	msgpackNil msgpackKind = iota
	msgpackOther
	msgpackString
	msgpackArray
	msgpackMap
)

// msgpackToken is the first part of a value: all that is not elements.
type msgpackToken struct {
	kind msgpackKind
	n    int // bytes of payload, elements of an array, or pairs of a map
}

// msgpackScanner walks over MessagePack and checks its syntax.
type msgpackScanner []byte

func (s msgpackScanner) fail(at int, what string) error {
	return fmt.Errorf("%w: not MessagePack at byte %d: %s", ErrMalformed, at, what)
}

// skip skips the value at i, inside of depth maps and arrays.
func (s msgpackScanner) skip(i, depth int) (end int, err error) {
	t, next, err := s.token(i)
	if err != nil {
		return i, err
	}
	n := t.n
	switch t.kind {
	case msgpackArray:
	case msgpackMap:
		n *= 2
	default:
		return next + n, nil
	}
	if depth++; depth > MaxDepth {
		return i, errDepth()
	}
	for range n {
		if next, err = s.skip(next, depth); err != nil {
			return i, err
		}
	}
	return next, nil
}

// token reads the head of the value at i and returns the index after it. The
// payload of a token that is no array or map is within the message.
func (s msgpackScanner) token(i int) (t msgpackToken, next int, err error) {
	if i >= len(s) {
		return t, i, s.fail(i, "the message ends too early")
	}
	c := s[i]
	next = i + 1
	width := 0 // of the length that follows
	switch {
	case c <= 0x7f || c >= 0xe0: // integers in one byte
		return msgpackToken{kind: msgpackOther}, next, nil
	case c <= 0x8f:
		return msgpackToken{msgpackMap, int(c & 0x0f)}, next, nil
	case c <= 0x9f:
		return msgpackToken{msgpackArray, int(c & 0x0f)}, next, nil
	case c <= 0xbf:
		t = msgpackToken{msgpackString, int(c & 0x1f)}
	case c == 0xc0:
		return t, next, nil
	case c == 0xc1:
		return t, i, s.fail(i, "0xc1 is not a type")
	case c <= 0xc3: // booleans
		return msgpackToken{kind: msgpackOther}, next, nil
	case c <= 0xc6: // bin 8, 16, 32
		t.kind, width = msgpackOther, 1<<(c-0xc4)
	case c <= 0xc9: // ext 8, 16, 32: the payload has a type byte ahead
		t, width = msgpackToken{msgpackOther, 1}, 1<<(c-0xc7)
	case c <= 0xcb: // float 32, 64
		t = msgpackToken{msgpackOther, 4 << (c - 0xca)}
	case c <= 0xcf: // uint 8 to 64
		t = msgpackToken{msgpackOther, 1 << (c - 0xcc)}
	case c <= 0xd3: // int 8 to 64
		t = msgpackToken{msgpackOther, 1 << (c - 0xd0)}
	case c <= 0xd8: // fixext 1 to 16
		t = msgpackToken{msgpackOther, 1 + 1<<(c-0xd4)}
	case c <= 0xdb: // str 8, 16, 32
		t.kind, width = msgpackString, 1<<(c-0xd9)
	case c <= 0xdd: // array 16, 32
		t.kind, width = msgpackArray, 2<<(c-0xdc)
	default: // map 16, 32
		t.kind, width = msgpackMap, 2<<(c-0xde)
	}
	if width > len(s)-next {
		return t, i, s.fail(i, "the message ends inside of a length")
	}
	switch width {
	case 1:
		t.n += int(s[next])
	case 2:
		t.n += int(binary.BigEndian.Uint16(s[next:]))
	case 4:
		t.n += int(binary.BigEndian.Uint32(s[next:]))
	}
	next += width
	if t.n < 0 || t.n > len(s)-next { // negative: over the int of a 32 bit machine
		return t, i, s.fail(i, "a length goes past the end of the message")
	}
	return t, next, nil
}
