package envelope

import "github.com/boreas-ws/boreas/pkg/wire"

func peekProtobuf(msg []byte) (Head, error) { return Head{}, ErrMalformed }

func appendProtobuf(dst []byte, m Message) []byte { return dst }

func appendProtobufError(dst []byte, id string, code wire.ErrorCode, message string, fields []FieldError) []byte {
	return dst
}
