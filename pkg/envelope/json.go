package envelope

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// peekJSON reads an envelope in one pass over the message.
func peekJSON(msg []byte) (Head, error) {
	s := jsonScanner{b: msg}
	h, err := s.envelope()
	if err != nil {
		if !utf8.Valid(msg) {
			err = ErrUTF8
		}
		return Head{ID: h.ID}, err
	}
	return h, nil
}

// envelope reads the whole message.
func (s *jsonScanner) envelope() (h Head, err error) {
	i := s.space(0)
	if i == len(s.b) || s.b[i] != '{' {
		s.fail(i, "expected '{': a message is an object")
		return h, s.err
	}
	var seen fieldSet
	for i, more := s.first(i, '}'); ; i, more = s.next(i, '}') {
		if i < 0 {
			return h, s.err
		}
		if !more {
			if i = s.space(i); i != len(s.b) {
				s.fail(i, "something follows the message")
				return h, s.err
			}
			return h, nil
		}
		end, escaped := s.key(i)
		if end < 0 {
			return h, s.err
		}
		name, err := unquote(s.b[i:end:end], escaped)
		if err != nil {
			return h, err
		}
		f, err := seen.key(name)
		if err != nil {
			return h, err
		}
		if i = s.colon(end); i < 0 {
			return h, s.err
		}
		if i, err = s.field(&h, f, i); err != nil {
			return h, err
		}
	}
}

// field reads the value of a key of the envelope and returns where it ends.
func (s *jsonScanner) field(h *Head, f field, i int) (end int, err error) {
	first, escaped := s.peek(i), false
	if first == '"' {
		end, escaped = s.str(i)
	} else {
		end = s.value(i, 1)
	}
	if end < 0 {
		return end, s.err
	}
	value := s.b[i:end:end]
	switch {
	case f == fieldOther:
	case f == fieldData:
		h.Data = value
	case first == 'n': // null, the same as absent
	case f == fieldMeta:
		if first != '{' {
			return end, errType(f, "an object")
		}
		h.Meta = value
	case first != '"':
		return end, errType(f, "a string")
	default:
		text, err := unquote(value, escaped)
		if err != nil {
			return end, err
		}
		return end, h.setText(f, text)
	}
	return end, nil
}

// unquote returns the text of a string literal, which is valid JSON.
func unquote(literal []byte, escaped bool) ([]byte, error) {
	if !escaped {
		return literal[1 : len(literal)-1 : len(literal)-1], nil
	}
	var text string
	if err := json.Unmarshal(literal, &text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return []byte(text), nil
}

func appendJSON(dst []byte, m Message) []byte {
	sep := byte('{')
	key := func(name string) {
		dst = append(dst, sep, '"')
		dst = append(dst, name...)
		dst = append(dst, '"', ':')
		sep = ','
	}
	if m.ID != "" {
		key("id")
		dst = appendJSONString(dst, m.ID)
	}
	if m.Path != "" {
		key("path")
		dst = appendJSONString(dst, m.Path)
	}
	if m.Data != nil {
		key("data")
		dst = append(dst, m.Data...)
	}
	if m.Meta != nil {
		key("meta")
		dst = append(dst, m.Meta...)
	}
	if sep == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

func appendJSONError(dst []byte, id string, failure Failure) []byte {
	dst = append(dst, '{')
	if id != "" {
		dst = appendJSONString(append(dst, `"id":`...), id)
		dst = append(dst, ',')
	}
	dst = appendJSONString(append(dst, `"data":{"error":`...), failure.Message)
	dst = appendJSONString(append(dst, `,"code":`...), string(failure.Code))
	if failure.RetryAfter > 0 {
		dst = strconv.AppendFloat(append(dst, `,"retry_after":`...), failure.retryAfter(), 'f', -1, 64)
	}
	sep := `,"fields":[{`
	for _, f := range failure.Fields {
		dst = appendJSONString(append(dst, sep...), f.Field)
		dst = appendJSONString(append(dst, ':'), f.Error)
		sep = `},{`
	}
	if len(failure.Fields) > 0 {
		dst = append(dst, `}]`...)
	}
	return append(dst, `}}`...)
}

// appendJSONString appends s as a string literal. What is not UTF-8 becomes
// U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
