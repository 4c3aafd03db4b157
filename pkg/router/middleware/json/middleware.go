package json

import (
	"encoding/json"
	"sync"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
)

// Middleware decodes and encodes JSON messages. It passes messages of clients that
// have negotiated another encoding on to the middleware of that.
func Middleware() func(ctx *router.Context) { return router.NewMiddleware(codec) }

var codec = &router.Codec{
	Encoding: envelope.JSON,
	Unmarshal: func(message *router.InboundMessage, into any) error {
		return json.Unmarshal(message.Data, into)
	},
	Append: appendMessage,
	Meta: func(raw []byte) (meta map[string]any) {
		if json.Unmarshal(raw, &meta) != nil {
			return nil
		}
		return meta
	},
}

func appendMessage(dst []byte, message router.OutboundMessage) ([]byte, error) {
	data := message.Data
	switch v := data.(type) {
	case nil:
		return envelope.JSON.AppendMessage(dst, envelope.Message{ID: message.ID}), nil
	case router.Raw:
		if len(v) == 0 {
			v = nil
		}
		return envelope.JSON.AppendMessage(dst, envelope.Message{ID: message.ID, Data: v}), nil
	case json.RawMessage:
		if json.Valid(v) {
			return envelope.JSON.AppendMessage(dst, envelope.Message{ID: message.ID, Data: v}), nil
		}
	case *router.Error:
		return envelope.JSON.AppendError(dst, message.ID, v.Failure()), nil
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
	const placeholder = "0"
	dst = envelope.JSON.AppendMessage(dst, envelope.Message{ID: message.ID, Data: []byte(placeholder)})
	e, _ := encoders.Get().(*encoder)
	e.out = dst[:len(dst)-len(placeholder+"}")]
	err := e.Encode(data)
	out := e.out
	e.out = nil
	encoders.Put(e)
	if err != nil {
		return nil, err
	}
	out[len(out)-1] = '}' // in place of the line's end
	return out, nil
}

// encoder is a json.Encoder that appends to a slice.
type encoder struct {
	*json.Encoder
	out []byte
}

func (e *encoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.Encoder = json.NewEncoder(e)
	return e
}}
