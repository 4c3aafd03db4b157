package envelope

import (
	"errors"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Limits that [Encoding.Peek] enforces. The size of a whole message is the
// transport's to limit.
const (
	MaxIDLen   = 128  // bytes of an id, after unescaping
	MaxPathLen = 1024 // bytes of a path, after unescaping
	MaxDepth   = 512  // nested objects and arrays, the envelope itself included
)

// The reasons for which [Encoding.Peek] refuses a message. What it returns wraps
// one of them and says in addition where and why, in words that may be shown to
// the client.
var (
	// ErrMalformed: the message is not valid in its encoding.
	ErrMalformed = errors.New("malformed message")
	// ErrUTF8: a message of a text encoding is not UTF-8. It has precedence over
	// every other error, because WebSocket demands that the connection be closed.
	ErrUTF8 = errors.New("message is not valid UTF-8")
	// ErrAmbiguous: a key of the envelope occurs twice, or in other than lower
	// case. Decoders disagree about which value counts, so nobody may guess.
	ErrAmbiguous = errors.New("ambiguous envelope")
	// ErrType: a key of the envelope has a value of the wrong type.
	ErrType = errors.New("wrong type in envelope")
	// ErrLimit: the message is over MaxIDLen, MaxPathLen or MaxDepth.
	ErrLimit = errors.New("envelope over a limit")
)

// Head is what routing needs of a message. All slices alias the message unless
// they had to be unescaped or joined.
type Head struct {
	Path []byte // where the message goes; empty when absent
	ID   []byte // what correlates it with its answer; empty when absent
	// Data is the payload in the connection's encoding, nil when absent: a JSON
	// value, a MessagePack value, or for Protobuf the bytes of the data field.
	Data []byte
	// Meta is the metadata, nil when absent: a JSON object, a MessagePack map, or
	// for Protobuf the records of the envelope's meta field, tags included, which
	// is an envelope that has nothing but them.
	Meta []byte
}

// Peek validates a whole message and finds the parts of its envelope without
// decoding the data. It does not allocate unless an id, path or envelope key has
// escapes (JSON) or the meta records do not stand side by side (Protobuf).
//
// On an error, the ID of the Head is set if it was found before the error, so
// that the answer can carry it; the rest of the Head is not to be used.
func (e Encoding) Peek(msg []byte) (Head, error) {
	switch e {
	case MsgPack:
		return peekMsgPack(msg)
	case Protobuf:
		return peekProtobuf(msg)
	default:
		return peekJSON(msg)
	}
}

// Message is an envelope to be written.
type Message struct {
	ID   string // "" omits it
	Path string // "" omits it
	// Data and Meta are in the forms that [Head] documents; nil omits them. They
	// are copied into the message as they are.
	Data []byte
	Meta []byte
}

// AppendMessage appends m as one message of this encoding.
func (e Encoding) AppendMessage(dst []byte, m Message) []byte {
	switch e {
	case MsgPack:
		return appendMsgPack(dst, m)
	case Protobuf:
		return appendProtobuf(dst, m)
	default:
		return appendJSON(dst, m)
	}
}

// FieldError says what is wrong with one field of a message's data.
type FieldError struct {
	Field string
	Error string
}

// Failure is what an error message tells.
type Failure struct {
	Code    wire.ErrorCode
	Message string // for people
	// RetryAfter is when it may be worth trying again, with a resolution of a
	// millisecond; zero says nothing about that.
	RetryAfter time.Duration
	// Fields name what is wrong with the data.
	Fields []FieldError
}

// retryAfter is RetryAfter in seconds, rounded up to milliseconds.
func (f Failure) retryAfter() float64 {
	return float64((f.RetryAfter + time.Millisecond - 1).Milliseconds()) / 1000
}

// AppendError appends an error message: an envelope with the id of the message
// that it answers ("" if that had none) and, as its data,
//
//	{"error": message, "code": code, "retry_after": seconds, "fields": [{field: error}, ...]}
//
// with retry_after and fields only if there are any. Protobuf has it in the
// envelope's error field instead.
func (e Encoding) AppendError(dst []byte, id string, f Failure) []byte {
	switch e {
	case MsgPack:
		return appendMsgPackError(dst, id, f)
	case Protobuf:
		return appendProtobufError(dst, id, f)
	default:
		return appendJSONError(dst, id, f)
	}
}
