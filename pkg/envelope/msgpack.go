package envelope

import "github.com/boreas-ws/boreas/pkg/wire"

func peekMsgPack(msg []byte) (Head, error) { return Head{}, ErrMalformed }

func appendMsgPack(dst []byte, m Message) []byte { return dst }

func appendMsgPackError(dst []byte, id string, code wire.ErrorCode, message string, fields []FieldError) []byte {
	return dst
}
