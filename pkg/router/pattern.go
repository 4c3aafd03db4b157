package router

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Pattern is a parsed path pattern. It consists of segments between slashes:
//
//	/users/list        the literal text
//	/users/*           any one segment
//	/users/:id         any one segment, kept as the parameter id
//	/users/:id(\d+)    a segment that the regular expression matches as a whole
//	/files/(a|b)       the same without a name
//
// A segment may end with how often it stands there: ? at most once, + once or
// more, * any number of times. So /files/** matches /files and everything below,
// and the parameter of /files/:path* holds "a/b" for /files/a/b. A backslash takes
// the meaning from the character after it. One slash at the end of a path is
// ignored.
//
// A Pattern is immutable. Matching takes time linear in the length of the path.
type Pattern struct {
	source    string
	canonical string
	segments  []segment
	names     []string // of the parameters, in order

	// static is the only path, without a slash at its end, that a pattern of
	// nothing but literal text matches. "" also stands for the root.
	static   string
	isStatic bool

	// simple: no segment repeats or is optional, but for the last, which may.
	simple bool

	// whole replaces segment-wise matching when an expression of the pattern can
	// match slashes or nothing at all.
	whole *regexp.Regexp
}

// NewPattern parses a pattern. The error says what is wrong with it and where.
func NewPattern(pattern string) (*Pattern, error) {
	segments, err := parsePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	p := &Pattern{source: pattern, segments: segments, isStatic: true, simple: true}
	spans := false
	for i := range segments {
		s := &segments[i]
		p.canonical += "/" + s.canonical()
		p.static += "/" + s.text
		if s.kind != literal || s.repeat != once {
			p.isStatic = false
		}
		if s.repeat != once && i < len(segments)-1 {
			p.simple = false
		}
		if s.name != "" {
			p.names = append(p.names, s.name)
		}
		spans = spans || s.spans
	}
	if len(segments) == 0 {
		p.canonical = "/"
	}
	if spans {
		if p.whole, err = wholeExpression(segments); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	return p, nil
}

// Match reports whether path fits, and the values of the pattern's parameters. An
// optional parameter that the path lacks has the value "".
func (p *Pattern) Match(path string) (MessageParams, bool) {
	var params MessageParams
	ok := p.MatchInto(path, &params)
	return params, ok
}

// MatchInto is [Pattern.Match] into a map that is reused: when path fits, what the
// map held is removed. A nil map is made.
func (p *Pattern) MatchInto(path string, params *MessageParams) bool {
	var few [4]string
	values, _, ok := p.match(path, few[:0])
	if !ok {
		return false
	}
	if *params == nil {
		*params = make(MessageParams, len(values))
	}
	clear(*params)
	for i, v := range values {
		(*params)[p.names[i]] = v
	}
	return true
}

var (
	errMissingParam    = errors.New("no value for the parameter")
	errMissingWildcard = errors.New("not enough wildcard values")
)

// Path builds a path from the values of the parameters and, in their order, of the
// segments without a name. Segments that are optional are left out when there is no
// value for them. Values are put in as they are.
func (p *Pattern) Path(params MessageParams, wildcards []string) (string, error) {
	var b strings.Builder
	for i := range p.segments {
		s := &p.segments[i]
		var value string
		switch {
		case s.kind == literal:
			value = s.text
		case s.name != "":
			v, ok := params[s.name]
			if !ok {
				if s.optional() {
					continue
				}
				return "", fmt.Errorf("pattern %q: %w %q", p.source, errMissingParam, s.name)
			}
			value = v
		case len(wildcards) > 0:
			value, wildcards = wildcards[0], wildcards[1:]
		case s.optional():
			continue
		default:
			return "", fmt.Errorf("pattern %q: %w", p.source, errMissingWildcard)
		}
		b.WriteByte('/')
		b.WriteString(value)
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// String returns the pattern as it was written.
func (p *Pattern) String() string { return p.source }

// Canonical returns the pattern with its parameter names erased. Two patterns with
// the same canonical form match the same paths.
func (p *Pattern) Canonical() string { return p.canonical }

// MessageParams are the values of a pattern's parameters by their names.
type MessageParams map[string]string

// Get returns the value of a parameter, "" if there is none. The case of key is
// ignored unless a parameter has exactly that name.
func (p MessageParams) Get(key string) string {
	if v, ok := p[key]; ok {
		return v
	}
	for k, v := range p {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return ""
}
