package router

import "strings"

// match appends the values of the parameters in their order. rest is where in path
// the part begins that the last segment matched, its slash included: what a mounted
// router has to route when the pattern ends with /**.
func (p *Pattern) match(path string, values []string) (_ []string, rest int, ok bool) {
	switch {
	case p.isStatic:
		return values, len(path), p.matchStatic(path)
	case p.whole != nil:
		return p.matchWhole(path, values)
	}
	if path != "" && path[0] != '/' {
		return values, 0, false
	}
	path = strings.TrimSuffix(path, "/")
	if p.simple {
		return p.matchSimple(path, values)
	}
	return p.matchRepeats(path, values)
}

func (p *Pattern) matchStatic(path string) bool {
	if len(path) == len(p.static)+1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return path == p.static
}

// matchSimple walks over the path once: only the last segment can repeat.
func (p *Pattern) matchSimple(path string, values []string) (_ []string, rest int, ok bool) {
	before := len(values)
	at := 0
	for i := range p.segments {
		s := &p.segments[i]
		rest = at
		var value string
		switch {
		case s.repeat == once:
			if at == len(path) {
				return values[:before], 0, false
			}
			end := segmentEnd(path, at)
			value = path[at+1 : end]
			if !s.matches(value) {
				return values[:before], 0, false
			}
			at = end
		case at == len(path):
			if !s.optional() {
				return values[:before], 0, false
			}
		default:
			from := at
			for n := 0; at < len(path); n++ {
				end := segmentEnd(path, at)
				if n == 1 && s.repeat == optional || !s.matches(path[at+1:end]) {
					return values[:before], 0, false
				}
				at = end
			}
			value = path[from+1:]
		}
		if s.name != "" {
			values = append(values, value)
		}
	}
	if at != len(path) {
		return values[:before], 0, false
	}
	return values, rest, true
}

// segmentEnd returns the end of the segment whose slash is at path[at].
func segmentEnd(path string, at int) int {
	if i := strings.IndexByte(path[at+1:], '/'); i >= 0 {
		return at + 1 + i
	}
	return len(path)
}

// matchRepeats matches any pattern in two passes over the path. The first, from its
// end, finds for every place in the path which segments of the pattern can match
// all that follows; the second takes from the start as much as each segment may,
// without ever having to step back.
func (p *Pattern) matchRepeats(path string, values []string) (_ []string, rest int, ok bool) {
	before := len(values)
	var few [32]int
	slashes := few[:0]
	for at := 0; at < len(path); at = segmentEnd(path, at) {
		slashes = append(slashes, at)
	}
	texts, width := len(slashes), len(p.segments)+1
	text := func(t int) string {
		end := len(path)
		if t+1 < texts {
			end = slashes[t+1]
		}
		return path[slashes[t]+1 : end]
	}

	// can[t*width+i]: segments i.. match the texts t.. . again: so do segments i..
	// when segment i, of those that repeat, has already matched once.
	var fewCells [256]bool
	cells := fewCells[:]
	if n := 2 * (texts + 1) * width; n > len(cells) {
		cells = make([]bool, n)
	}
	can, again := cells[:(texts+1)*width], cells[(texts+1)*width:]
	for t := texts; t >= 0; t-- {
		can[t*width+width-1] = t == texts
		for i := width - 2; i >= 0; i-- {
			s := &p.segments[i]
			skip := can[t*width+i+1]
			take := t < texts && s.matches(text(t))
			repeats := s.repeat == oneMore || s.repeat == anyTimes
			next := t + 1
			again[t*width+i] = skip || repeats && take && again[next*width+i]
			can[t*width+i] = s.optional() && skip ||
				take && (can[next*width+i+1] || repeats && again[next*width+i])
		}
	}
	if !can[0] {
		return values, 0, false
	}

	start := func(t int) int {
		if t < texts {
			return slashes[t]
		}
		return len(path)
	}
	t := 0
	for i := range p.segments {
		s := &p.segments[i]
		from := t
		repeats := s.repeat == oneMore || s.repeat == anyTimes
		for t < texts && (t == from || repeats) && s.matches(text(t)) {
			if !can[(t+1)*width+i+1] && (!repeats || !again[(t+1)*width+i]) {
				break
			}
			t++
		}
		rest = start(from)
		if s.name == "" {
			continue
		}
		value := ""
		if t > from {
			value = path[slashes[from]+1 : start(t)]
		}
		values = append(values, value)
	}
	return values[:before+len(p.names)], rest, true
}

func (p *Pattern) matchWhole(path string, values []string) (_ []string, rest int, ok bool) {
	found := p.whole.FindStringSubmatchIndex(path)
	if found == nil {
		return values, 0, false
	}
	for _, name := range p.names {
		i := p.whole.SubexpIndex(name)
		value := ""
		if found[2*i] >= 0 {
			value = path[found[2*i]:found[2*i+1]]
		}
		values = append(values, value)
	}
	return values, len(path), true
}
