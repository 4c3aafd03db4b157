package push

import (
	"bytes"
	"encoding/json"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// payloadFor returns data in an encoding, transcoded if need be; ok is false if that
// cannot be done.
func payloadFor(data []wire.PushData, e envelope.Encoding) (_ []byte, ok bool) {
	if len(data) == 0 {
		return nil, true
	}
	have := func(e envelope.Encoding) []byte {
		for _, d := range data {
			if d.Encoding == byte(e) {
				return d.Bytes
			}
		}
		return nil
	}
	if b := have(e); b != nil {
		return b, true
	}
	text, packed := have(envelope.JSON), have(envelope.MsgPack)
	switch {
	case e == envelope.MsgPack && text != nil:
		return packJSON(text)
	case e == envelope.Protobuf && text != nil:
		return text, true
	case packed != nil && e == envelope.JSON, packed != nil && e == envelope.Protobuf:
		return unpackJSON(packed)
	}
	return nil, false
}

// packJSON turns JSON into MessagePack. Numbers without fraction and exponent become
// integers if they fit.
func packJSON(text []byte) ([]byte, bool) {
	if !wellFormed(envelope.JSON, text) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	e.UseCompactInts(true)
	err := e.Encode(numbers(v))
	return b.Bytes(), err == nil
}

// numbers replaces every json.Number in a value by an integer or a float.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // a number beyond its range becomes infinite
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// unpackJSON turns MessagePack into JSON, if that can hold it.
func unpackJSON(packed []byte) ([]byte, bool) {
	var v any
	if !wellFormed(envelope.MsgPack, packed) || msgpack.Unmarshal(packed, &v) != nil {
		return nil, false
	}
	b, err := json.Marshal(v)
	return b, err == nil
}

// wellFormed reports whether data could be that of a message. The decoders follow any
// depth, at the cost of stack; the envelope's do not.
func wellFormed(e envelope.Encoding, data []byte) bool {
	_, err := e.Peek(e.AppendMessage(nil, envelope.Message{Data: data}))
	return err == nil
}
