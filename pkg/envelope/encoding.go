package envelope

import "github.com/boreas-ws/boreas/pkg/wire"

// Encoding is how one connection's envelopes are written. A connection chooses it
// by its WebSocket subprotocol, once, in the handshake.
type Encoding uint8

// The encodings. The zero value is what a client without a subprotocol speaks.
const (
	JSON     Encoding = iota // text messages, subprotocol "velaros-json"
	MsgPack                  // binary messages, subprotocol "velaros-msgpack"
	Protobuf                 // binary messages, subprotocol "velaros-protobuf"

	encodings
)

var names = [encodings]string{JSON: "json", MsgPack: "msgpack", Protobuf: "protobuf"}

const subprotocolPrefix = "velaros-"

// FromSubprotocol gives the encoding that a subprotocol stands for; "" stands for
// [JSON]. ok is false if nobody speaks that subprotocol here.
func FromSubprotocol(s string) (e Encoding, ok bool) {
	if s == "" {
		return JSON, true
	}
	for e := range encodings {
		if s == e.Subprotocol() {
			return e, true
		}
	}
	return JSON, false
}

// Subprotocols lists the subprotocols of all encodings.
func Subprotocols() []string {
	list := make([]string, 0, encodings)
	for e := range encodings {
		list = append(list, e.Subprotocol())
	}
	return list
}

// Valid reports whether e is one of the encodings: a value that another node sent
// may not be.
func (e Encoding) Valid() bool { return e < encodings }

// Subprotocol returns the WebSocket subprotocol of e.
func (e Encoding) Subprotocol() string { return subprotocolPrefix + e.String() }

// MessageType returns the kind of WebSocket message that carries e.
func (e Encoding) MessageType() wire.MessageType {
	if e == JSON {
		return wire.Text
	}
	return wire.Binary
}

// String returns a short name, as used in logs and metric labels.
func (e Encoding) String() string {
	if !e.Valid() {
		return "unknown"
	}
	return names[e]
}
