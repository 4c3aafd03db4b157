package router

// Pattern is a parsed path pattern.
type Pattern struct{ source string }

// NewPattern parses a pattern.
func NewPattern(source string) (*Pattern, error) { return &Pattern{source: source}, nil }

// Match reports whether path fits, and the parameters it holds.
func (p *Pattern) Match(path string) (MessageParams, bool) { return nil, path == p.source }

// MatchInto is Match into a map that is reused.
func (p *Pattern) MatchInto(path string, params *MessageParams) bool { return path == p.source }

// Path builds a path that fits the pattern.
func (p *Pattern) Path(params MessageParams, wildcards []string) (string, error) {
	return p.source, nil
}

// String returns the pattern as it was written.
func (p *Pattern) String() string { return p.source }

// Canonical returns the pattern with its parameter names erased: two patterns with
// the same canonical form match the same paths.
func (p *Pattern) Canonical() string { return p.source }

// Compare orders patterns from the most to the least specific: negative when p is
// tried before q. It is zero only if both have the same canonical form.
func (p *Pattern) Compare(q *Pattern) int { return 0 }

// MessageParams are the values of a pattern's parameters.
type MessageParams map[string]string
