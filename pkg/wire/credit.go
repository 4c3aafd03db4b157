package wire

import "encoding/binary"

// Credit allows its receiver to send more Data on the stream.
type Credit struct {
	Bytes uint32 // in the unit of [Data.Cost]
}

// Append writes the body.
func (c Credit) Append(b []byte) []byte { return binary.AppendUvarint(b, uint64(c.Bytes)) }

// ParseCredit reads the body of a Credit frame.
func ParseCredit(body []byte) (Credit, error) {
	f := fields{rest: body}
	c := Credit{Bytes: f.uint32()}
	return c, f.end()
}
