package router

import "cmp"

// Compare orders patterns from the most to the least specific: it is negative if a
// path that both match belongs to p, positive if it belongs to q, and zero only if
// both have the same canonical form.
//
// Patterns are compared segment by segment; the first difference decides. Literal
// text comes before an expression, that before any segment, that before the end of
// the pattern; then follow, in this order, segments with ?, + and *. An expression
// that can match slashes counts as one with +.
func (p *Pattern) Compare(q *Pattern) int {
	for i := range max(len(p.segments), len(q.segments)) {
		if c := cmp.Compare(rank(p.segments, i), rank(q.segments, i)); c != 0 {
			return c
		}
		// Equal ranks: both have this segment.
		if c := cmp.Compare(p.segments[i].text, q.segments[i].text); c != 0 {
			return c
		}
	}
	return cmp.Compare(p.canonical, q.canonical)
}

const endRank = 3

func rank(segments []segment, i int) int {
	if i >= len(segments) {
		return endRank
	}
	s := &segments[i]
	repeat := s.repeat
	if repeat == once {
		if !s.spans {
			return int(s.kind)
		}
		repeat = oneMore
	}
	return endRank + 1 + 3*int(repeat-optional) + int(s.kind)
}
