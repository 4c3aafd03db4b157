package wire

import (
	"encoding/binary"
	"fmt"
)

// CloseSource says who ended a socket, or why a stream ends.
type CloseSource byte

// The sources of a close.
const (
	SourceClient  CloseSource = 0 // the client closed or vanished
	SourceServer  CloseSource = 1 // a gateway or a handler closed it
	SourceHandoff CloseSource = 2 // the socket lives on; its instance handed it back
)

// Close ends a stream. From the opener it says that the socket is gone, and comes
// after the last Data. From the acceptor it asks the gateway to close the client's
// connection.
type Close struct {
	Status CloseCode
	Reason string
	Source CloseSource
	// Finish asks the acceptor to handle what is queued and to let the replies
	// out before it answers with Closed. Otherwise handlers are cancelled.
	Finish bool
}

// Append writes the body.
func (c Close) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.Status))
	b = appendString(b, c.Reason)
	finish := byte(0)
	if c.Finish {
		finish = 1
	}
	return append(b, byte(c.Source), finish)
}

// ParseClose reads the body of a Close frame.
func ParseClose(body []byte) (Close, error) {
	f := fields{rest: body}
	status := f.uvarint()
	c := Close{Reason: f.string(), Source: CloseSource(f.byte())}
	finish := f.byte()
	if err := f.end(); err != nil {
		return Close{}, err
	}
	if status > 4999 {
		return Close{}, fmt.Errorf("%w: close status %d", ErrFrame, status)
	}
	if c.Source > SourceHandoff || finish > 1 {
		return Close{}, fmt.Errorf("%w: close flags", ErrFrame)
	}
	c.Status, c.Finish = CloseCode(status), finish == 1
	return c, nil
}
