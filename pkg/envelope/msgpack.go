package envelope

import (
	"encoding/binary"
	"math"
)

// peekMsgPack reads an envelope in one pass over the message.
func peekMsgPack(msg []byte) (Head, error) {
	var h Head
	if err := msgpackScanner(msg).envelope(&h); err != nil {
		return Head{ID: h.ID}, err
	}
	return h, nil
}

// envelope reads the whole message.
func (s msgpackScanner) envelope(h *Head) error {
	m, i, err := s.token(0)
	if err != nil {
		return err
	}
	if m.kind != msgpackMap {
		return s.fail(0, "a message is a map")
	}
	var seen fieldSet
	for range m.n {
		var f field
		if f, i, err = s.key(i, &seen); err != nil {
			return err
		}
		if i, err = s.field(h, f, i); err != nil {
			return err
		}
	}
	if i != len(s) {
		return s.fail(i, "something follows the message")
	}
	return nil
}

// key reads a key of the envelope at i and returns the index of its value.
func (s msgpackScanner) key(i int, seen *fieldSet) (field, int, error) {
	t, start, err := s.token(i)
	if err != nil {
		return fieldOther, i, err
	}
	if t.kind != msgpackString {
		return fieldOther, i, s.fail(i, "the keys of a message are strings")
	}
	end := start + t.n
	f, err := seen.key(s[start:end])
	return f, end, err
}

// field reads the value of a key of the envelope and returns where it ends.
func (s msgpackScanner) field(h *Head, f field, i int) (end int, err error) {
	t, start, err := s.token(i)
	if err != nil {
		return i, err
	}
	if end, err = s.skip(i, 1); err != nil {
		return i, err
	}
	switch {
	case f == fieldOther:
	case f == fieldData:
		h.Data = s[i:end:end]
	case t.kind == msgpackNil: // the same as absent
	case f == fieldMeta:
		if t.kind != msgpackMap {
			return end, errType(f, "a map")
		}
		h.Meta = s[i:end:end]
	case t.kind != msgpackString:
		return end, errType(f, "a string")
	default:
		return end, h.setBinaryText(f, s[start:end:end])
	}
	return end, nil
}

func appendMsgPack(dst []byte, m Message) []byte {
	at := len(dst)
	pairs := byte(0)
	dst = append(dst, 0x80)
	key := func(name string) {
		dst = appendMsgPackString(dst, name)
		pairs++
	}
	if m.ID != "" {
		key("id")
		dst = appendMsgPackString(dst, m.ID)
	}
	if m.Path != "" {
		key("path")
		dst = appendMsgPackString(dst, m.Path)
	}
	if m.Data != nil {
		key("data")
		dst = append(dst, m.Data...)
	}
	if m.Meta != nil {
		key("meta")
		dst = append(dst, m.Meta...)
	}
	dst[at] |= pairs
	return dst
}

func appendMsgPackError(dst []byte, id string, failure Failure) []byte {
	if id == "" {
		dst = append(dst, 0x81)
	} else {
		dst = appendMsgPackString(append(dst, 0x82), "id")
		dst = appendMsgPackString(dst, id)
	}
	dst = appendMsgPackString(dst, "data")
	pairs := byte(0x82)
	if failure.RetryAfter > 0 {
		pairs++
	}
	if len(failure.Fields) > 0 {
		pairs++
	}
	dst = appendMsgPackString(append(dst, pairs), "error")
	dst = appendMsgPackString(dst, failure.Message)
	dst = appendMsgPackString(dst, "code")
	dst = appendMsgPackString(dst, string(failure.Code))
	if failure.RetryAfter > 0 {
		dst = append(appendMsgPackString(dst, "retry_after"), 0xcb)
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(failure.retryAfter()))
	}
	if len(failure.Fields) == 0 {
		return dst
	}
	dst = appendMsgPackString(dst, "fields")
	dst = append(dst, 0xdd)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(failure.Fields)))
	for _, f := range failure.Fields {
		dst = appendMsgPackString(append(dst, 0x81), f.Field)
		dst = appendMsgPackString(dst, f.Error)
	}
	return dst
}

// appendMsgPackString appends s as a str. What is not UTF-8 stays as it is.
func appendMsgPackString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 1<<5:
		dst = append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		dst = append(dst, 0xd9, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}
