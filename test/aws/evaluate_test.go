package aws

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// stack is what a template makes with one set of parameters.
type stack struct {
	resources map[string]made
	outputs   map[string]string
	problems  []string
}

// made is a resource without functions.
type made struct {
	typ        string
	properties object
}

// removed stands for AWS::NoValue.
type removed struct{}

// evaluator does what CloudFormation does with functions.
type evaluator struct {
	template template
	values   map[string]any // of parameters
	found    []string
}

// evaluate makes a stack. Parameters that are not given have their defaults.
func (t template) evaluate(given map[string]string) stack {
	e := &evaluator{template: t, values: map[string]any{}}
	for name, p := range t.Parameters {
		e.parameter(name, p, given)
	}
	for name := range given {
		if t.Parameters[name] == nil {
			e.problem("there is no parameter %s", name)
		}
	}
	s := stack{resources: map[string]made{}, outputs: map[string]string{}}
	for name := range t.Resources {
		if !e.exists(name) {
			continue
		}
		r, _ := t.Resources[name].(object)
		typ, _ := r["Type"].(string)
		properties, _ := e.value(r["Properties"]).(object)
		s.resources[name] = made{typ: typ, properties: properties}
		for _, misfit := range misfits(typ, properties) {
			e.problem("%s (%s): %s", name, typ, misfit)
		}
	}
	for name, o := range t.Outputs {
		output, _ := o.(object)
		s.outputs[name] = fmt.Sprint(e.value(output["Value"]))
	}
	slices.Sort(e.found)
	s.problems = slices.Compact(e.found)
	return s
}

func (e *evaluator) problem(format string, args ...any) {
	e.found = append(e.found, fmt.Sprintf(format, args...))
}

// parameter checks a value as CloudFormation would, before it starts.
func (e *evaluator) parameter(name string, definition any, given map[string]string) {
	p, _ := definition.(object)
	text, ok := given[name]
	if !ok {
		if p["Default"] == nil {
			e.problem("parameter %s is not given", name)
			return
		}
		text = fmt.Sprint(p["Default"])
	}
	if pattern, ok := p["AllowedPattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(text) {
		e.problem("parameter %s: %q does not match %s", name, text, pattern)
	}
	if allowed, ok := p["AllowedValues"].([]any); ok &&
		!slices.ContainsFunc(allowed, func(v any) bool { return fmt.Sprint(v) == text }) {
		e.problem("parameter %s: %q is not one of %v", name, text, allowed)
	}
	typ, _ := p["Type"].(string)
	switch {
	case typ == "Number":
		n, err := strconv.Atoi(text)
		if err != nil {
			e.problem("parameter %s: %q is not a number", name, text)
		}
		least, bounded := p["MinValue"].(int)
		most, above := p["MaxValue"].(int)
		if bounded && n < least || above && n > most {
			e.problem("parameter %s: %d is out of bounds", name, n)
		}
		e.values[name] = n
	case strings.HasPrefix(typ, "List<"):
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, part)
		}
		e.values[name] = list
	default:
		e.values[name] = text
	}
}

// exists says whether the resource is made, by its condition.
func (e *evaluator) exists(name string) bool {
	r, ok := e.template.Resources[name].(object)
	if !ok {
		return false
	}
	condition, conditional := r["Condition"].(string)
	return !conditional || e.condition(condition)
}

func (e *evaluator) condition(name string) bool {
	v, ok := e.template.Conditions[name]
	if !ok {
		e.problem("there is no condition %s", name)
	}
	yes, _ := e.value(v).(bool)
	return yes
}

// value evaluates the functions in a value.
func (e *evaluator) value(v any) any {
	if name, argument, ok := call(v); ok {
		return e.call(name, argument)
	}
	switch v := v.(type) {
	case object:
		o := object{}
		for key, inner := range v {
			if got := e.value(inner); !isRemoved(got) {
				o[key] = got
			}
		}
		return o
	case []any:
		return e.list(v)
	default:
		return v
	}
}

func (e *evaluator) list(list []any) []any {
	out := []any{}
	for _, inner := range list {
		if got := e.value(inner); !isRemoved(got) {
			out = append(out, got)
		}
	}
	return out
}

func isRemoved(v any) bool { _, ok := v.(removed); return ok }

func (e *evaluator) call(name string, argument any) any {
	switch name {
	case "Ref":
		return e.ref(fmt.Sprint(argument))
	case "Condition":
		return e.condition(fmt.Sprint(argument))
	case "Fn::Sub":
		return e.sub(argument)
	}
	list, _ := argument.([]any)
	if name == "Fn::If" && len(list) == 3 {
		if e.condition(fmt.Sprint(list[0])) {
			return e.value(list[1])
		}
		return e.value(list[2])
	}
	if name == "Fn::GetAZs" {
		return []any{"zone-a", "zone-b", "zone-c"}
	}
	args := e.list(list)
	switch {
	case name == "Fn::GetAtt" && len(args) == 2:
		return e.attribute(fmt.Sprint(args[0]), fmt.Sprint(args[1]))
	case name == "Fn::Equals" && len(args) == 2:
		return fmt.Sprint(args[0]) == fmt.Sprint(args[1])
	case name == "Fn::Not" && len(args) == 1:
		return args[0] == false
	case name == "Fn::Join" && len(args) == 2:
		var parts []string
		joined, _ := args[1].([]any)
		for _, part := range joined {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, fmt.Sprint(args[0]))
	case name == "Fn::Select" && len(args) == 2:
		index, _ := args[0].(int)
		if from, _ := args[1].([]any); index < len(from) {
			return from[index]
		}
	case name == "Fn::Cidr" && len(args) == 3:
		if blocks := cidr(fmt.Sprint(args[0]), args[1], args[2]); blocks != nil {
			return blocks
		}
	case name == "Fn::FindInMap" && len(args) == 3:
		mapping, _ := e.template.Mappings[fmt.Sprint(args[0])].(object)
		row, _ := mapping[fmt.Sprint(args[1])].(object)
		if v, ok := row[fmt.Sprint(args[2])]; ok {
			return v
		}
	}
	e.problem("%s cannot take %v", name, argument)
	return ""
}

// cidr cuts count blocks with that many bits for hosts out of a block; nil if they do
// not fit.
func cidr(block string, count, hostBits any) (blocks []any) {
	whole, err := netip.ParsePrefix(block)
	n, bits := count.(int), 32-hostBits.(int)
	if err != nil || bits < whole.Bits() || n > 1<<(bits-whole.Bits()) {
		return nil
	}
	address := binary.BigEndian.Uint32(whole.Addr().AsSlice())
	for i := range n {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], address+uint32(i)<<(32-bits))
		blocks = append(blocks, netip.PrefixFrom(netip.AddrFrom4(b), bits).String())
	}
	return blocks
}

var pseudo = map[string]any{
	"AWS::NoValue": removed{}, "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012",
	"AWS::Partition": "aws", "AWS::StackName": "boreas",
}

func (e *evaluator) ref(name string) any {
	if v, ok := e.values[name]; ok {
		return v
	}
	if v, ok := pseudo[name]; ok {
		return v
	}
	if !e.exists(name) {
		e.problem("%s is used, but not made", name)
	}
	return "id-of-" + name
}

func (e *evaluator) attribute(resource, attribute string) any {
	if !e.exists(resource) {
		e.problem("%s is used, but not made", resource)
	}
	if strings.HasSuffix(attribute, "Arn") {
		return "arn:aws:service:eu-central-1:123456789012:" + resource
	}
	return attribute + "-of-" + resource
}

func (e *evaluator) sub(argument any) any {
	text, own := fmt.Sprint(argument), object{}
	if list, ok := argument.([]any); ok && len(list) == 2 {
		text = fmt.Sprint(list[0])
		own, _ = list[1].(object)
	}
	return inSub.ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-1]
		resource, attribute, dotted := strings.Cut(name, ".")
		switch {
		case own[name] != nil:
			return fmt.Sprint(e.value(own[name]))
		case dotted:
			return fmt.Sprint(e.attribute(resource, attribute))
		default:
			return fmt.Sprint(e.ref(name))
		}
	})
}

// only is the one resource of a type.
func (s stack) only(typ string) object {
	var found []object
	for _, name := range slices.Sorted(maps.Keys(s.resources)) {
		if r := s.resources[name]; r.typ == typ {
			found = append(found, r.properties)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}
