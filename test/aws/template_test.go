package aws

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const dir = "../../deploy/aws"

// template is a parsed template. Functions have their long form: {"Ref": name},
// {"Fn::GetAtt": [resource, attribute]}.
type template struct {
	Parameters, Mappings, Conditions, Resources, Outputs object

	text string
}

type object = map[string]any

// loaded are the templates that load has read. Nothing changes them.
var loaded = map[string]template{}

// load reads a template of deploy/aws.
func load(t *testing.T, name string) template {
	t.Helper()
	if tmpl, ok := loaded[name]; ok {
		return tmpl
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	loaded[name] = parsed
	return parsed
}

// sections are the parts that a template may have, those that need no evaluation
// included.
var sections = []string{"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Resources", "Outputs"}

func parse(text string) (template, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return template{}, err
	}
	v, err := value(document.Content[0])
	if err != nil {
		return template{}, err
	}
	root, _ := v.(object)
	for name := range root {
		if !slices.Contains(sections, name) {
			return template{}, fmt.Errorf("unknown section %s", name)
		}
	}
	t := template{text: text}
	for name, part := range map[string]*object{
		"Parameters": &t.Parameters, "Mappings": &t.Mappings, "Conditions": &t.Conditions,
		"Resources": &t.Resources, "Outputs": &t.Outputs,
	} {
		*part, _ = root[name].(object)
		if *part == nil {
			*part = object{}
		}
	}
	return t, nil
}

// value makes plain values of YAML, as strictly as CloudFormation, which knows no
// aliases.
func value(n *yaml.Node) (any, error) {
	plain, err := untagged(n)
	if err != nil || !strings.HasPrefix(n.Tag, "!") || strings.HasPrefix(n.Tag, "!!") {
		return plain, err
	}
	switch name := n.Tag[1:]; name {
	case "Ref", "Condition":
		return object{name: plain}, nil
	case "GetAtt":
		if s, ok := plain.(string); ok {
			resource, attribute, _ := strings.Cut(s, ".")
			plain = []any{resource, attribute}
		}
		return object{"Fn::GetAtt": plain}, nil
	default:
		return object{"Fn::" + name: plain}, nil
	}
}

func untagged(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			return n.Value, nil
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		return v, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			v, err := value(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		o := object{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := o[key]; twice {
				return nil, fmt.Errorf("line %d: %s is there twice", n.Content[i].Line, key)
			}
			v, err := value(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			o[key] = v
		}
		return o, nil
	default:
		return nil, fmt.Errorf("line %d: CloudFormation knows no aliases", n.Line)
	}
}

// call takes a function apart: {"Fn::If": [...]}.
func call(v any) (name string, argument any, ok bool) {
	o, _ := v.(object)
	if len(o) != 1 {
		return "", nil, false
	}
	for name, argument = range o {
		ok = name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::")
	}
	if _, text := argument.(string); name == "Condition" && !text {
		ok = false // the Condition of a policy's statement
	}
	return name, argument, ok
}

var inSub = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

// references calls see for every name that a value refers to. kind is Ref,
// Fn::GetAtt, Condition or Fn::FindInMap.
func references(v any, see func(kind, name, attribute string)) {
	name, argument, ok := call(v)
	list, _ := argument.([]any)
	text := func(i int) string {
		if len(list) <= i {
			return ""
		}
		s, _ := list[i].(string)
		return s
	}
	switch {
	case ok && (name == "Ref" || name == "Condition"):
		s, _ := argument.(string)
		see(name, s, "")
	case ok && name == "Fn::GetAtt":
		see(name, text(0), text(1))
	case ok && name == "Fn::Sub":
		s, isText := argument.(string)
		own := object{}
		if !isText {
			s = text(0)
			if len(list) > 1 {
				own, _ = list[1].(object)
			}
		}
		for _, m := range inSub.FindAllStringSubmatch(s, -1) {
			resource, attribute, dotted := strings.Cut(m[1], ".")
			switch {
			case own[m[1]] != nil:
			case dotted:
				see("Fn::GetAtt", resource, attribute)
			default:
				see("Ref", m[1], "")
			}
		}
	case ok && name == "Fn::If":
		see("Condition", text(0), "")
	case ok && name == "Fn::FindInMap":
		see(name, text(0), "")
	}
	switch v := v.(type) {
	case object:
		for _, inner := range v {
			references(inner, see)
		}
	case []any:
		for _, inner := range v {
			references(inner, see)
		}
	}
}

// problems are the references that lead nowhere, and what nothing refers to.
func (t template) problems() (found []string) {
	used := map[string]bool{}
	see := func(kind, name, attribute string) {
		used[kind+" "+name] = true
		_, isParameter := t.Parameters[name]
		resource, isResource := t.Resources[name].(object)
		switch kind {
		case "Ref":
			if !isParameter && !isResource && !strings.HasPrefix(name, "AWS::") {
				found = append(found, "nothing is named "+name)
			}
		case "Fn::GetAtt":
			typ, _ := resource["Type"].(string)
			if s := schemaOf(typ); !isResource || s == nil || !slices.Contains(s.attributes, attribute) {
				found = append(found, fmt.Sprintf("there is no attribute %s of %s", attribute, name))
			}
		case "Condition":
			if t.Conditions[name] == nil {
				found = append(found, "there is no condition "+name)
			}
		case "Fn::FindInMap":
			if t.Mappings[name] == nil {
				found = append(found, "there is no mapping "+name)
			}
		}
	}
	for _, part := range []object{t.Conditions, t.Resources, t.Outputs} {
		references(part, see)
	}
	for name, r := range t.Resources {
		found = append(found, t.problemsOf(name, r, see)...)
	}
	for name := range t.Parameters {
		if !used["Ref "+name] {
			found = append(found, "nothing uses parameter "+name)
		}
	}
	for name := range t.Conditions {
		if !used["Condition "+name] {
			found = append(found, "nothing uses condition "+name)
		}
	}
	for name := range t.Mappings {
		if !used["Fn::FindInMap "+name] {
			found = append(found, "nothing uses mapping "+name)
		}
	}
	return found
}

// attributesOfResource are those of a resource beside its properties.
var attributesOfResource = []string{"Type", "Properties", "Condition", "DependsOn", "UpdatePolicy", "DeletionPolicy", "UpdateReplacePolicy"}

func (t template) problemsOf(name string, r any, see func(kind, name, attribute string)) (found []string) {
	resource, _ := r.(object)
	for key := range resource {
		if !slices.Contains(attributesOfResource, key) {
			found = append(found, fmt.Sprintf("%s: unknown attribute %s", name, key))
		}
	}
	if condition, ok := resource["Condition"].(string); ok {
		see("Condition", condition, "")
	}
	if other, ok := resource["DependsOn"].(string); ok && t.Resources[other] == nil {
		found = append(found, fmt.Sprintf("%s depends on %s, which is not there", name, other))
	}
	return found
}
