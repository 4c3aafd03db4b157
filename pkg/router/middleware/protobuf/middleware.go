package protobuf

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Error is sent as an error without a code.
type Error string

// FieldError is sent as a failed validation of one field of the client's data. A
// slice of them can be sent as well.
type FieldError = envelope.FieldError

// Middleware decodes and encodes Protobuf messages. It passes messages of clients
// that have negotiated another encoding on to the middleware of that.
func Middleware() func(ctx *router.Context) { return router.NewMiddleware(codec) }

var codec = &router.Codec{
	Encoding: envelope.Protobuf,
	Unmarshal: func(message *router.InboundMessage, into any) error {
		m, ok := into.(proto.Message)
		if !ok {
			return notProto(into)
		}
		return proto.Unmarshal(message.Data, m)
	},
	Append: appendMessage,
	Meta:   meta,
}

func notProto(v any) error {
	return fmt.Errorf("%T is not a generated Protobuf type: it must implement proto.Message", v)
}

func appendMessage(dst []byte, message router.OutboundMessage) ([]byte, error) {
	out := envelope.Message{ID: message.ID}
	switch v := message.Data.(type) {
	case nil:
	case router.Raw:
		out.Data = v
	case *router.Error:
		return envelope.Protobuf.AppendError(dst, message.ID, v.Failure()), nil
	case Error:
		return envelope.Protobuf.AppendError(dst, message.ID, envelope.Failure{Message: string(v)}), nil
	case FieldError:
		return appendValidation(dst, message.ID, v), nil
	case []FieldError:
		return appendValidation(dst, message.ID, v...), nil
	case proto.Message:
		data, err := proto.Marshal(v)
		if err != nil {
			return nil, err
		}
		out.Data = data
	default:
		return nil, notProto(v)
	}
	return envelope.Protobuf.AppendMessage(dst, out), nil
}

func appendValidation(dst []byte, id string, fields ...FieldError) []byte {
	return envelope.Protobuf.AppendError(dst, id, envelope.Failure{Code: wire.CodeValidation, Message: "Validation error", Fields: fields})
}

// The fields of an entry of the envelope's meta map.
const (
	metaKey   protowire.Number = 1
	metaValue protowire.Number = 2
)

// meta decodes the records of the envelope's meta field, which Peek has validated.
func meta(raw []byte) map[string]any {
	values := map[string]any{}
	for len(raw) > 0 {
		_, _, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		entry, size := protowire.ConsumeBytes(raw[n:])
		if size < 0 {
			return nil
		}
		raw = raw[n+size:]
		key, value, ok := metaEntry(entry)
		if !ok {
			return nil
		}
		var decoded any
		if json.Unmarshal(value, &decoded) != nil {
			decoded = value
		}
		values[key] = decoded
	}
	return values
}

func metaEntry(entry []byte) (key string, value []byte, ok bool) {
	for len(entry) > 0 {
		number, kind, n := protowire.ConsumeTag(entry)
		if n < 0 {
			return "", nil, false
		}
		size := protowire.ConsumeFieldValue(number, kind, entry[n:])
		if size < 0 {
			return "", nil, false
		}
		field := entry[n : n+size]
		entry = entry[n+size:]
		switch number {
		case metaKey:
			b, _ := protowire.ConsumeBytes(field)
			key = string(b)
		case metaValue:
			value, _ = protowire.ConsumeBytes(field)
		default: // none that we know
		}
	}
	return key, value, true
}
