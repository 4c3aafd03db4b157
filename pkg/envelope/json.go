package envelope

import "github.com/boreas-ws/boreas/pkg/wire"

func peekJSON(msg []byte) (Head, error) { return Head{}, ErrMalformed }

func appendJSON(dst []byte, m Message) []byte { return dst }

func appendJSONError(dst []byte, id string, code wire.ErrorCode, message string, fields []FieldError) []byte {
	return dst
}
