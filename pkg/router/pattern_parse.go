package router

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type segmentKind uint8

const (
	literal    segmentKind = iota // the text
	expression                    // what the regular expression matches
	anything                      // any segment that is not empty
)

type repetition uint8

const (
	once     repetition = iota
	optional            // ?
	oneMore             // +
	anyTimes            // *
)

var repetitionSigns = [...]string{once: "", optional: "?", oneMore: "+", anyTimes: "*"}

// segment is the part of a pattern between two slashes.
type segment struct {
	kind   segmentKind
	repeat repetition
	name   string // of a parameter
	text   string // of a literal, or the source of an expression
	expr   *regexp.Regexp
	spans  bool // the expression can match a slash or nothing
}

func (s *segment) optional() bool { return s.repeat == optional || s.repeat == anyTimes }

func (s *segment) matches(text string) bool {
	switch s.kind {
	case literal:
		return text == s.text
	case expression:
		return s.expr.MatchString(text)
	default:
		return text != ""
	}
}

const special = `:*?+()\`

func (s *segment) canonical() string {
	sign := repetitionSigns[s.repeat]
	switch s.kind {
	case expression:
		return "(" + s.text + ")" + sign
	case anything:
		return "*" + sign
	default:
		var b strings.Builder
		for _, r := range s.text {
			if strings.ContainsRune(special, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		return b.String() + sign
	}
}

func parsePattern(pattern string) ([]segment, error) {
	if !utf8.ValidString(pattern) {
		return nil, errors.New("is not valid UTF-8")
	}
	if !strings.HasPrefix(pattern, "/") {
		return nil, errors.New("must start with a slash")
	}
	p := patternParser{in: pattern}
	var segments []segment
	seen := map[string]bool{}
	for p.at < len(p.in) {
		p.at++ // the slash
		if p.at == len(p.in) || p.in[p.at] == '/' {
			continue
		}
		s, err := p.segment()
		if err != nil {
			return nil, err
		}
		if s.name != "" {
			if seen[s.name] {
				return nil, fmt.Errorf("has two parameters named %q", s.name)
			}
			seen[s.name] = true
		}
		segments = append(segments, s)
	}
	return segments, nil
}

type patternParser struct {
	in string
	at int
}

func (p *patternParser) failf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %w", p.at, fmt.Errorf(format, args...))
}

func (p *patternParser) peek() byte {
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return '/'
}

// segment reads up to the next slash or the end.
func (p *patternParser) segment() (s segment, err error) {
	switch p.peek() {
	case ':':
		p.at++
		s.kind = anything
		if s.name, err = p.name(); err != nil {
			return s, err
		}
	case '*':
		p.at++
		s.kind = anything
	case '(':
	default:
		if s.text, err = p.literal(); err != nil {
			return s, err
		}
	}
	if p.peek() == '(' {
		if s.kind == literal && s.text != "" {
			return s, p.failf("an expression must follow a slash, a name or a *; escape the parenthesis as \\(")
		}
		if err := p.expression(&s); err != nil {
			return s, err
		}
	}
	if s.kind == literal && s.text == "" {
		return s, p.failf("%q needs something before it; escape it with a backslash to mean itself", p.in[p.at])
	}
	switch p.peek() {
	case '?':
		s.repeat = optional
	case '+':
		s.repeat = oneMore
	case '*':
		s.repeat = anyTimes
	case '/':
		return s, nil
	default:
		return s, p.failf("unexpected %q", p.in[p.at:])
	}
	p.at++
	if p.peek() != '/' {
		return s, p.failf("%q must be the last character of its segment; escape it with a backslash to mean itself", p.in[p.at-1])
	}
	return s, nil
}

func (p *patternParser) name() (string, error) {
	start := p.at
	for p.at < len(p.in) {
		r, n := utf8.DecodeRuneInString(p.in[p.at:])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		p.at += n
	}
	if p.at == start {
		return "", p.failf("a parameter needs a name after the colon")
	}
	return p.in[start:p.at], nil
}

func (p *patternParser) literal() (string, error) {
	var b strings.Builder
	for p.at < len(p.in) {
		switch c := p.in[p.at]; c {
		case '/', '(', ')', '?', '+', '*':
			if c == ')' {
				return "", p.failf("a closing parenthesis without an opening one; escape it as \\)")
			}
			return b.String(), nil
		case '\\':
			p.at++
			if p.at == len(p.in) || p.in[p.at] == '/' {
				return "", p.failf("a backslash needs a character to escape")
			}
		}
		_, n := utf8.DecodeRuneInString(p.in[p.at:])
		b.WriteString(p.in[p.at : p.at+n])
		p.at += n
	}
	return b.String(), nil
}

// expression reads a regular expression in parentheses.
func (p *patternParser) expression(s *segment) error {
	start := p.at + 1
	depth, class := 0, false
	for ; p.at < len(p.in); p.at++ {
		switch c := p.in[p.at]; {
		case c == '\\':
			p.at++
		case class:
			class = c != ']'
		case c == '[':
			class = true
			if p.at+1 < len(p.in) && p.in[p.at+1] == '^' {
				p.at++
			}
			if p.at+1 < len(p.in) && p.in[p.at+1] == ']' {
				p.at++ // a bracket at the start of a class is one of its characters
			}
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth == 0 {
			break
		}
	}
	if p.at >= len(p.in) {
		p.at = start - 1
		return p.failf("the expression has no closing parenthesis")
	}
	s.kind, s.text = expression, p.in[start:p.at]
	p.at++
	if s.text == "" {
		return p.failf("the expression is empty")
	}
	tree, err := syntax.Parse(s.text, syntax.Perl)
	if err != nil {
		return p.failf("the expression: %w", err)
	}
	if s.expr, err = regexp.Compile("^(?:" + s.text + ")$"); err != nil {
		return p.failf("the expression: %w", err)
	}
	s.spans = matchesSlash(tree) || s.expr.MatchString("")
	return nil
}

// matchesSlash reports whether an expression can match text that has a slash.
func matchesSlash(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return slices.Contains(re.Rune, '/')
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i] <= '/' && '/' <= re.Rune[i+1] {
				return true
			}
		}
	default:
		return slices.ContainsFunc(re.Sub, matchesSlash)
	}
	return false
}

// wholeExpression is one regular expression for all segments. Its submatches that
// have a name are the parameters.
func wholeExpression(segments []segment) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteByte('^')
	for i := range segments {
		s := &segments[i]
		unit := "[^/]+"
		switch s.kind {
		case literal:
			unit = regexp.QuoteMeta(s.text)
		case expression:
			unit = "(?:" + s.text + ")"
		case anything:
		}
		if s.repeat == oneMore || s.repeat == anyTimes {
			unit += "(?:/" + unit + ")*"
		}
		if s.name != "" {
			unit = "(?P<" + s.name + ">" + unit + ")"
		}
		if s.optional() {
			b.WriteString("(?:/" + unit + ")?")
		} else {
			b.WriteString("/" + unit)
		}
	}
	b.WriteString("/?$")
	return regexp.Compile(b.String())
}
