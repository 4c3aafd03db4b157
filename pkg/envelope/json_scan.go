package envelope

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// jsonScanner walks over JSON text (RFC 8259) and checks its syntax. Its methods
// take the index where something starts and return the index after it, or a
// negative one and leave the reason in err.
type jsonScanner struct {
	b   []byte
	err error
}

func (s *jsonScanner) fail(at int, what string) int {
	s.err = fmt.Errorf("%w: not JSON at byte %d: %s", ErrMalformed, at, what)
	return -1
}

// peek returns the byte at i, 0 at the end.
func (s *jsonScanner) peek(i int) byte {
	if uint(i) < uint(len(s.b)) {
		return s.b[i]
	}
	return 0
}

// space skips whitespace.
func (s *jsonScanner) space(i int) int {
	b := s.b
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value skips a value that starts at i, inside of depth objects and arrays.
func (s *jsonScanner) value(i, depth int) int {
	switch c := s.peek(i); c {
	case '"':
		end, _ := s.str(i)
		return end
	case '{':
		return s.object(i, depth+1)
	case '[':
		return s.array(i, depth+1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		if c == '-' || isDigit(c) {
			return s.number(i)
		}
		return s.fail(i, "expected a value")
	}
}

func (s *jsonScanner) object(i, depth int) int {
	if depth > MaxDepth {
		s.err = errDepth()
		return -1
	}
	i, more := s.first(i, '}')
	for more {
		if i, _ = s.key(i); i < 0 {
			return i
		}
		if i = s.colon(i); i < 0 {
			return i
		}
		if i = s.value(i, depth); i < 0 {
			return i
		}
		i, more = s.next(i, '}')
	}
	return i
}

func (s *jsonScanner) array(i, depth int) int {
	if depth > MaxDepth {
		s.err = errDepth()
		return -1
	}
	i, more := s.first(i, ']')
	for more {
		if i = s.value(i, depth); i < 0 {
			return i
		}
		i, more = s.next(i, ']')
	}
	return i
}

// first steps from the opening bracket at i to the first element, or behind the
// closing bracket when there is none.
func (s *jsonScanner) first(i int, closing byte) (at int, more bool) {
	i = s.space(i + 1)
	if s.peek(i) == closing {
		return i + 1, false
	}
	return i, true
}

// next steps from the end of an element to the next one, or behind the closing
// bracket after the last.
func (s *jsonScanner) next(i int, closing byte) (at int, more bool) {
	i = s.space(i)
	switch s.peek(i) {
	case ',':
		return s.space(i + 1), true
	case closing:
		return i + 1, false
	}
	return s.fail(i, "expected ',' or '"+string(closing)+"'"), false
}

// key skips a key of an object.
func (s *jsonScanner) key(i int) (end int, escaped bool) {
	if s.peek(i) != '"' {
		return s.fail(i, "expected a key in quotes"), false
	}
	return s.str(i)
}

// colon steps from the end of a key to the start of its value.
func (s *jsonScanner) colon(i int) int {
	i = s.space(i)
	if s.peek(i) != ':' {
		return s.fail(i, "expected ':' after a key")
	}
	return s.space(i + 1)
}

func (s *jsonScanner) literal(i int, word string) int {
	if end := i + len(word); end <= len(s.b) && string(s.b[i:end]) == word {
		return end
	}
	return s.fail(i, "expected "+word)
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func (s *jsonScanner) number(i int) int {
	if s.b[i] == '-' {
		i++
	}
	if s.peek(i) == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return i
	}
	if s.peek(i) == '.' {
		if i = s.digits(i + 1); i < 0 {
			return i
		}
	}
	if c := s.peek(i); c == 'e' || c == 'E' {
		i++
		if c = s.peek(i); c == '+' || c == '-' {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits skips one digit or more.
func (s *jsonScanner) digits(i int) int {
	if !isDigit(s.peek(i)) {
		return s.fail(i, "expected a digit")
	}
	for i < len(s.b) && isDigit(s.b[i]) {
		i++
	}
	return i
}

// str skips the string literal whose opening quote is at i, eight bytes at a time
// where they are plain ASCII.
func (s *jsonScanner) str(i int) (end int, escaped bool) {
	b, start, ascii := s.b, i, true
	for i++; ; {
		for len(b)-i >= 8 {
			stop := stops(binary.LittleEndian.Uint64(b[i:]))
			if stop != 0 {
				i += bits.TrailingZeros64(stop) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return s.fail(i, "the message ends inside of a string"), false
		}
		switch c := b[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(b[start:i]) {
				return s.fail(start, "a string is not UTF-8"), false
			}
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = s.escape(i); i < 0 {
				return i, false
			}
		case c < ' ':
			return s.fail(i, "a control character must be escaped"), false
		case c >= utf8.RuneSelf:
			ascii = false
			for i < len(b) && b[i] >= utf8.RuneSelf {
				i++
			}
		default:
			i++
		}
	}
}

// stops marks bytes of x: the lowest bit that is set belongs to the first byte
// that is a quote, a backslash, a control character or not ASCII.
func stops(x uint64) uint64 {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote := x ^ '"'*each
	backslash := x ^ '\\'*each
	return (x | (x - ' '*each) | (quote - each) | (backslash - each)) & high
}

// escape skips an escape sequence. Halves of surrogate pairs may stand alone, as
// for encoding/json, which decodes them as U+FFFD.
func (s *jsonScanner) escape(i int) int {
	switch s.peek(i + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for j := i + 2; j < i+6; j++ {
			c := s.peek(j)
			if !isDigit(c) && (c|0x20)-'a' > 'f'-'a' {
				return s.fail(j, "expected four hexadecimal digits after \\u")
			}
		}
		return i + 6
	}
	return s.fail(i+1, "unknown escape sequence")
}
