package msgpack

import (
	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
)

// Middleware decodes and encodes MessagePack messages. It passes messages of
// clients that have negotiated another encoding on to the middleware of that.
func Middleware() func(ctx *router.Context) { return router.NewMiddleware(codec) }

var codec = &router.Codec{
	Encoding: envelope.MsgPack,
	Unmarshal: func(message *router.InboundMessage, into any) error {
		return msgpack.Unmarshal(message.Data, into)
	},
	Append: appendMessage,
	Meta: func(raw []byte) (meta map[string]any) {
		if msgpack.Unmarshal(raw, &meta) != nil {
			return nil
		}
		return meta
	},
}

func appendMessage(dst []byte, message router.OutboundMessage) ([]byte, error) {
	data := message.Data
	switch v := data.(type) {
	case nil:
		return envelope.MsgPack.AppendMessage(dst, envelope.Message{ID: message.ID}), nil
	case router.Raw:
		if len(v) == 0 {
			v = nil
		}
		return envelope.MsgPack.AppendMessage(dst, envelope.Message{ID: message.ID, Data: v}), nil
	case *router.Error:
		return envelope.MsgPack.AppendError(dst, message.ID, v.Failure()), nil
	case []FieldError:
		data = validation(v)
	case FieldError:
		data = validation([]FieldError{v})
	case Error:
		data = map[string]string{"error": string(v)}
	case string:
		data = map[string]string{"message": v}
	}

	// The envelope is written around a placeholder, which is then overwritten.
	placeholder := []byte{0xc0} // nil
	dst = envelope.MsgPack.AppendMessage(dst, envelope.Message{ID: message.ID, Data: placeholder})
	w := writer{out: dst[:len(dst)-len(placeholder)]}
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(&w)
	if err := enc.Encode(data); err != nil {
		return nil, err
	}
	return w.out, nil
}

// writer appends to a slice.
type writer struct{ out []byte }

func (w *writer) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// WriteByte spares the encoder a wrapper.
func (w *writer) WriteByte(b byte) error {
	w.out = append(w.out, b)
	return nil
}
