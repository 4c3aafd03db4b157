package envelope

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers of envelope.proto.
const (
	protoID    protowire.Number = 1
	protoPath  protowire.Number = 2
	protoData  protowire.Number = 3
	protoMeta  protowire.Number = 4
	protoError protowire.Number = 5

	protoErrorMessage    protowire.Number = 1
	protoErrorCode       protowire.Number = 2
	protoErrorFields     protowire.Number = 3
	protoErrorRetryAfter protowire.Number = 4

	protoFieldName  protowire.Number = 1
	protoFieldError protowire.Number = 2

	protoMetaKey   protowire.Number = 1
	protoMetaValue protowire.Number = 2
)

// peekProtobuf reads an envelope in one pass over the message.
func peekProtobuf(msg []byte) (Head, error) {
	var h Head
	if err := protobufHead(&h, msg); err != nil {
		return Head{ID: h.ID}, err
	}
	return h, nil
}

func protobufHead(h *Head, msg []byte) error {
	var seen fieldSet
	for i := 0; i < len(msg); {
		start := i
		num, typ, value, end, err := protobufRecord(msg, i)
		if err != nil {
			return err
		}
		i = end
		if num > protoMeta {
			continue
		}
		f := protobufFields[num]
		if typ != protowire.BytesType {
			return errType(f, "length-delimited")
		}
		v, _ := protowire.ConsumeBytes(msg[value:])
		if f == fieldMeta { // a map: one record for each of its entries
			if err := checkProtobufMeta(v); err != nil {
				return err
			}
			h.Meta = joinProtobufMeta(h.Meta, msg, start, i)
			continue
		}
		if err := seen.add(f); err != nil {
			return err
		}
		if f == fieldData {
			h.Data = v[:len(v):len(v)]
			continue
		}
		if err := h.setBinaryText(f, v[:len(v):len(v)]); err != nil {
			return err
		}
	}
	return nil
}

var protobufFields = [...]field{protoID: fieldID, protoPath: fieldPath, protoData: fieldData, protoMeta: fieldMeta}

// joinProtobufMeta adds the record msg[start:end] to those before it. The result
// aliases msg as long as no other record stands between them.
func joinProtobufMeta(meta, msg []byte, start, end int) []byte {
	switch {
	case meta == nil:
		return msg[start:end:end]
	case &meta[0] == &msg[start-len(meta)]:
		return msg[start-len(meta) : end : end]
	}
	return append(meta, msg[start:end]...)
}

// checkProtobufMeta checks one entry of the meta map.
func checkProtobufMeta(entry []byte) error {
	for i := 0; i < len(entry); {
		num, typ, value, end, err := protobufRecord(entry, i)
		if err != nil {
			return err
		}
		i = end
		if num <= protoMetaValue && typ != protowire.BytesType {
			return errType(fieldMeta, "a map from string to bytes")
		}
		if key, _ := protowire.ConsumeBytes(entry[value:]); num == protoMetaKey && !utf8.Valid(key) {
			return fmt.Errorf("%w: a key of %q is not UTF-8", ErrMalformed, fieldNames[fieldMeta])
		}
	}
	return nil
}

// protobufRecord finds the record at i: its value starts at value, and it ends at
// end.
func protobufRecord(b []byte, i int) (num protowire.Number, typ protowire.Type, value, end int, err error) {
	num, typ, n := protowire.ConsumeTag(b[i:])
	if n < 0 {
		return 0, 0, 0, 0, errProtobuf(i, protowire.ParseError(n))
	}
	if num > protowire.MaxValidNumber {
		return 0, 0, 0, 0, errProtobuf(i, errors.New("invalid field number"))
	}
	value = i + n
	if n = protowire.ConsumeFieldValue(num, typ, b[value:]); n < 0 {
		return 0, 0, 0, 0, errProtobuf(value, protowire.ParseError(n))
	}
	return num, typ, value, value + n, nil
}

func errProtobuf(at int, why error) error {
	return fmt.Errorf("%w: not Protobuf at byte %d: %w", ErrMalformed, at, why)
}

func appendProtobuf(dst []byte, m Message) []byte {
	if m.ID != "" {
		dst = appendProtobufString(dst, protoID, m.ID)
	}
	if m.Path != "" {
		dst = appendProtobufString(dst, protoPath, m.Path)
	}
	if m.Data != nil {
		dst = protowire.AppendTag(dst, protoData, protowire.BytesType)
		dst = protowire.AppendBytes(dst, m.Data)
	}
	return append(dst, m.Meta...)
}

func appendProtobufError(dst []byte, id string, failure Failure) []byte {
	e := appendProtobufString(nil, protoErrorMessage, failure.Message)
	e = appendProtobufString(e, protoErrorCode, string(failure.Code))
	var pair []byte
	for _, f := range failure.Fields {
		pair = appendProtobufString(pair[:0], protoFieldName, f.Field)
		pair = appendProtobufString(pair, protoFieldError, f.Error)
		e = protowire.AppendTag(e, protoErrorFields, protowire.BytesType)
		e = protowire.AppendBytes(e, pair)
	}
	if failure.RetryAfter > 0 {
		e = protowire.AppendTag(e, protoErrorRetryAfter, protowire.Fixed64Type)
		e = protowire.AppendFixed64(e, math.Float64bits(failure.retryAfter()))
	}
	if id != "" {
		dst = appendProtobufString(dst, protoID, id)
	}
	dst = protowire.AppendTag(dst, protoError, protowire.BytesType)
	return protowire.AppendBytes(dst, e)
}

func appendProtobufString(dst []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}
