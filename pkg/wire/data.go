package wire

import "fmt"

// DataOverhead is what a Data frame costs of a credit window beside its payload,
// in bytes: small messages occupy memory beyond their length.
const DataOverhead = 128

// DefaultWindow is the credit, in bytes, that a stream starts with in the
// direction opener to acceptor, and by default in the other.
const DefaultWindow = 256 << 10

// Data is one message: the client's bytes unchanged, or a service's reply or
// push, already encoded for the client.
type Data struct {
	Type MessageType
	// ID is set by an acceptor whose handler waits for the client's answer under
	// this id, so that the gateway can route an answer that has no path.
	ID string
	// Payload aliases the parsed frame.
	Payload []byte
}

// Cost is what the message takes of its direction's credit, in bytes.
func (d Data) Cost() int { return len(d.Payload) + DataOverhead }

// AppendHead writes all of the body but the payload, which ends the frame and
// has no length of its own.
func (d Data) AppendHead(b []byte) []byte {
	return appendString(append(b, byte(d.Type)), d.ID)
}

// Append writes the body.
func (d Data) Append(b []byte) []byte { return append(d.AppendHead(b), d.Payload...) }

// ParseData reads the body of a Data frame.
func ParseData(body []byte) (Data, error) {
	f := fields{rest: body}
	d := Data{Type: MessageType(f.byte())}
	if id := f.bytes(); len(id) > 0 {
		d.ID = string(id)
	}
	if f.err != nil {
		return Data{}, f.err
	}
	if d.Type != Text && d.Type != Binary {
		return Data{}, fmt.Errorf("%w: message type %d", ErrFrame, d.Type)
	}
	d.Payload = f.rest
	return d, nil
}
