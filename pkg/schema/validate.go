package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Problem is one thing that is wrong with data.
type Problem struct {
	// Field is the path to the value, joined with dots, such as "items.0.name"; ""
	// is the data as a whole.
	Field string
	// Text says what is wrong, in words for the client.
	Text string
}

// MaxProblems is how many problems are reported of one message.
const MaxProblems = 16

// MaxDepth is how deeply arrays and objects may be nested in data that is checked. The
// time that a check takes can grow with the square of it.
const MaxDepth = 100

// MaxLocated is how many values there may be in data of which it is told where it
// does not fit. Of larger data only that is told: each value can have a problem, in
// each branch of a schema.
const MaxLocated = 1000

// maxText bounds the text of a problem, in bytes: it may quote the data.
const maxText = 256

// JSON reports what is wrong with a JSON text; nothing if it fits the schema. No
// text at all counts as null.
func (s *Schema) JSON(text []byte) []Problem {
	if len(text) == 0 {
		return s.check(nil)
	}
	v, err := decodeJSON(text)
	if err != nil {
		return []Problem{{Text: "is not valid JSON"}}
	}
	return s.check(v)
}

// MsgPack is JSON for data in MessagePack. Types that JSON does not have, such as
// binary and times, fit no schema. The lengths in data are believed: it must have
// passed envelope.Encoding.Peek.
func (s *Schema) MsgPack(data []byte) []Problem {
	if len(data) == 0 {
		return s.check(nil)
	}
	d := msgpack.NewDecoder(bytes.NewReader(data))
	v, err := d.DecodeInterfaceLoose()
	if err != nil {
		return []Problem{{Text: "cannot be compared with JSON: " + shorten(err.Error())}}
	}
	return s.check(v)
}

// check validates a decoded value.
func (s *Schema) check(v any) (problems []Problem) {
	defer func() {
		if r := recover(); r != nil { // a defect of the library: nothing that was not validated passes
			problems = []Problem{{Text: "cannot be validated"}}
		}
	}()
	var w walk
	if w.value(v, nil); len(w.problems) > 0 {
		return w.problems
	}
	if w.values > MaxLocated {
		if s.misfit.Validate(v) != nil { // it is none
			return nil
		}
		return []Problem{{Text: fmt.Sprintf("does not fit; where is told of %d values at most", MaxLocated)}}
	}
	err := s.compiled.Validate(v)
	var invalid *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		problems = collect(nil, invalid)
		slices.SortStableFunc(problems, func(a, b Problem) int { return strings.Compare(a.Field, b.Field) })
		return problems
	default:
		return []Problem{{Text: shorten(err.Error())}}
	}
}

// walk finds what validation must not see: depths, and numbers like 1e999999, with
// which arithmetic would take minutes.
type walk struct {
	values   int
	problems []Problem
}

func (w *walk) value(v any, at []string) {
	w.values++
	problem := ""
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err != nil || len(v) > maxText || math.Abs(f) < smallest && !isZero(v) {
			problem = outOfRange
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			problem = outOfRange
		}
	case float32:
		w.values--
		w.value(float64(v), at)
	case map[string]any:
		if len(at) == MaxDepth {
			problem = tooDeep
			break
		}
		for k, e := range v {
			if w.value(e, append(at, k)); len(w.problems) >= MaxProblems {
				break
			}
		}
	case []any:
		if len(at) == MaxDepth {
			problem = tooDeep
			break
		}
		for i, e := range v {
			if w.value(e, append(at, strconv.Itoa(i))); len(w.problems) >= MaxProblems {
				break
			}
		}
	}
	if problem != "" {
		w.problems = append(w.problems, Problem{shorten(strings.Join(at, ".")), problem})
	}
}

const outOfRange = "is a number out of range"

var tooDeep = fmt.Sprintf("is nested more than %d deep", MaxDepth)

// smallest is the smallest number that has full precision in a float64.
const smallest = 0x1p-1022

// isZero reports whether a number is written as zero, not just too small.
func isZero(n json.Number) bool {
	digits, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	return !strings.ContainsAny(digits, "123456789")
}

var english = message.NewPrinter(language.English)

// collect lists the innermost causes, which are those that a client can mend.
func collect(problems []Problem, e *jsonschema.ValidationError) []Problem {
	if len(problems) >= MaxProblems {
		return problems
	}
	at := strings.Join(e.InstanceLocation, ".")
	each := func(names []string, text string) {
		for _, name := range names {
			if len(problems) < MaxProblems {
				field := shorten(strings.TrimPrefix(at+"."+name, "."))
				problems = append(problems, Problem{field, text})
			}
		}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		each(k.Missing, "is required")
		return problems
	case *kind.AdditionalProperties:
		each(k.Properties, "is not known here")
		return problems
	}
	if len(e.Causes) == 0 {
		return append(problems, Problem{shorten(at), shorten(e.ErrorKind.LocalizedString(english))})
	}
	for _, cause := range e.Causes {
		problems = collect(problems, cause)
	}
	return problems
}

// shorten bounds text that may quote the client.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

// String is for tests and logs.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Text
	}
	return fmt.Sprintf("%s: %s", p.Field, p.Text)
}
