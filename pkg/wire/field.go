package wire

import (
	"encoding/binary"
	"fmt"
)

// appendString writes a length-prefixed string.
func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// fields reads the fields of a body one after another. After the first error
// every further read gives a zero value, so a parser checks once, at its end.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %s", ErrFrame, what)
		f.rest = nil
	}
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.fail("integer")
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) byte() byte {
	if len(f.rest) == 0 {
		f.fail("short")
		return 0
	}
	v := f.rest[0]
	f.rest = f.rest[1:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.uvarint()
	if n > uint64(len(f.rest)) {
		f.fail("length past the end")
		return nil
	}
	v := f.rest[:n:n]
	f.rest = f.rest[n:]
	return v
}

func (f *fields) string() string { return string(f.bytes()) }

// end reports the first error, or trailing bytes.
func (f *fields) end() error {
	if f.err == nil && len(f.rest) != 0 {
		f.fail(fmt.Sprintf("%d trailing bytes", len(f.rest)))
	}
	return f.err
}

func (f *fields) uint32() uint32 {
	v := f.uvarint()
	if v > 1<<32-1 {
		f.fail("integer over 32 bits")
		return 0
	}
	return uint32(v)
}
