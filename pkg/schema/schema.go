package schema

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of what [Compile] takes.
const (
	MaxBytes   = 64 << 10 // of a schema's text
	MaxPattern = 1 << 10  // bytes of a regular expression
	maxProgram = 4 << 10  // instructions of a compiled one
)

// Schema is a compiled schema.
type Schema struct {
	compiled *jsonschema.Schema
	misfit   *jsonschema.Schema // what does not fit fits this; checking it collects no problems
}

// Compile reads a JSON Schema, draft 2020-12 unless its $schema says another.
// References may point into the schema itself and to the drafts' meta-schemas.
func Compile(text string) (s *Schema, err error) {
	defer func() {
		if v := recover(); v != nil { // a defect of the library must not end a gateway
			s, err = nil, fmt.Errorf("schema: cannot be compiled: %v", v)
		}
	}()
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("schema: has %d bytes; the limit is %d", len(text), MaxBytes)
	}
	doc, err := decodeJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	var w walk
	if w.value(doc, nil); len(w.problems) > 0 {
		return nil, fmt.Errorf("schema: %s", w.problems[0])
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(location, doc); err != nil {
		return nil, explain(err)
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, explain(err)
	}
	if err := c.AddResource(misfit, map[string]any{"not": map[string]any{"$ref": location}}); err != nil {
		return nil, explain(err)
	}
	not, err := c.Compile(misfit)
	if err != nil {
		return nil, explain(err)
	}
	return &Schema{compiled, not}, nil
}

// location stands for a schema's own text where one must have an address, and misfit
// for its negation.
const (
	location = "boreas:route"
	misfit   = "boreas:misfit"
)

// explain makes one line of what the library says over many.
func explain(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return fmt.Errorf("schema: %s", text)
}

type noLoader struct{}

var errRemote = errors.New("schemas are not loaded from elsewhere: put it into $defs")

func (noLoader) Load(string) (any, error) { return nil, errRemote }

// pattern is a regular expression for the library.
type pattern struct{ *regexp.Regexp }

// compilePattern bounds what matching can cost: its time grows with the length of
// the text times the number of instructions.
func compilePattern(s string) (jsonschema.Regexp, error) {
	if len(s) > MaxPattern {
		return nil, fmt.Errorf("the pattern has %d bytes; the limit is %d", len(s), MaxPattern)
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxProgram {
		return nil, fmt.Errorf("the pattern %.40q compiles to %d instructions; the limit is %d", s, n, maxProgram)
	}
	re, err := regexp.Compile(s)
	return pattern{re}, err
}

// decodeJSON decodes one JSON value, numbers as text.
func decodeJSON(text []byte) (any, error) { return jsonschema.UnmarshalJSON(bytes.NewReader(text)) }
