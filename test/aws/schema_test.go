package aws

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed testdata/schemas/*.json
var schemaFiles embed.FS

// schema is what CloudFormation publishes about a resource type.
type schema struct {
	compiled   *jsonschema.Schema
	attributes []string // for Fn::GetAtt
}

var schemas = struct {
	sync.Mutex
	known map[string]*schema
}{known: map[string]*schema{}}

// schemaOf finds the schema of a type, such as AWS::ECS::Service; nil if there is none.
func schemaOf(typ string) *schema {
	schemas.Lock()
	defer schemas.Unlock()
	if s, ok := schemas.known[typ]; ok {
		return s
	}
	var s *schema
	text, err := schemaFiles.ReadFile("testdata/schemas/" + strings.ToLower(strings.ReplaceAll(typ, "::", "-")) + ".json")
	if err == nil {
		s = compile(text)
	}
	schemas.known[typ] = s
	return s
}

// compile panics where a schema is broken: they are files of this package.
func compile(text []byte) *schema {
	var document object
	must(json.Unmarshal(text, &document))
	s := &schema{}
	attributes, _ := document["attributes"].([]any)
	for _, a := range attributes {
		s.attributes = append(s.attributes, fmt.Sprint(a))
	}
	delete(document, "attributes")
	c := jsonschema.NewCompiler()
	must(c.AddResource("schema.json", lenient(document)))
	compiled, err := c.Compile("schema.json")
	must(err)
	s.compiled = compiled
	return s
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// lenient lets a schema take what CloudFormation converts: numbers and booleans for
// strings, and strings that are numbers or booleans for those.
func lenient(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = lenient(v[i])
		}
		return v
	case object:
		for key, inner := range v {
			v[key] = lenient(inner)
		}
	default:
		return v
	}
	o, _ := v.(object)
	switch o["type"] {
	case "string":
		o["type"] = []any{"string", "number", "boolean"}
	case "integer", "number":
		return object{"anyOf": []any{maps.Clone(o), object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?$`}}}
	case "boolean":
		return object{"enum": []any{true, false, "true", "false"}}
	}
	return o
}

// misfits says where the properties of a resource do not fit its type.
func misfits(typ string, properties any) []string {
	s := schemaOf(typ)
	if s == nil {
		return []string{"no schema for type " + typ + "; run scripts/aws-schemas if it exists"}
	}
	err := s.compiled.Validate(properties)
	if err == nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(err.Error()) {
		if at := strings.TrimSpace(line); strings.HasPrefix(at, "- ") {
			found = append(found, at[2:])
		}
	}
	slices.Sort(found)
	return found
}
