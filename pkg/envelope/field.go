package envelope

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// field is a key of the envelope.
type field uint8

const (
	fieldOther field = iota // a key that the envelope does not know
	fieldID
	fieldPath
	fieldData
	fieldMeta
)

var fieldNames = [...]string{fieldID: "id", fieldPath: "path", fieldData: "data", fieldMeta: "meta"}

// fieldSet remembers which fields of the envelope a message had.
type fieldSet uint8

// key finds the field that a key of the top-level map stands for.
func (s *fieldSet) key(key []byte) (field, error) {
	var f field
	switch string(key) {
	case "id":
		f = fieldID
	case "path":
		f = fieldPath
	case "data":
		f = fieldData
	case "meta":
		f = fieldMeta
	default:
		return fieldOther, lookalike(key)
	}
	return f, s.add(f)
}

// add notes that f occurred.
func (s *fieldSet) add(f field) error {
	bit := fieldSet(1) << f
	if *s&bit != 0 {
		return fmt.Errorf("%w: %q occurs twice", ErrAmbiguous, fieldNames[f])
	}
	*s |= bit
	return nil
}

// lookalike refuses an unknown key that some decoders would take for a field:
// those that match keys regardless of case, as encoding/json does.
func lookalike(key []byte) error {
	if len(key) != 2 && len(key) != 4 {
		return nil
	}
	for _, name := range fieldNames[fieldID:] {
		if bytes.EqualFold(key, []byte(name)) {
			return fmt.Errorf("%w: write %q in lower case, not %q", ErrAmbiguous, name, key)
		}
	}
	return nil
}

// setText stores the value of id or path.
func (h *Head) setText(f field, v []byte) error {
	limit := MaxPathLen
	if f == fieldID {
		limit = MaxIDLen
	}
	if len(v) > limit {
		return fmt.Errorf("%w: %q takes %d bytes of at most %d", ErrLimit, fieldNames[f], len(v), limit)
	}
	if f == fieldID {
		h.ID = v
	} else {
		h.Path = v
	}
	return nil
}

func errType(f field, want string) error {
	return fmt.Errorf("%w: %q must be %s", ErrType, fieldNames[f], want)
}

func errDepth() error {
	return fmt.Errorf("%w: nested deeper than %d levels", ErrLimit, MaxDepth)
}

// setBinaryText stores the value of id or path of a binary encoding, where nobody
// has checked yet that it is text.
func (h *Head) setBinaryText(f field, v []byte) error {
	if !utf8.Valid(v) {
		return fmt.Errorf("%w: %q is not UTF-8", ErrMalformed, fieldNames[f])
	}
	return h.setText(f, v)
}
