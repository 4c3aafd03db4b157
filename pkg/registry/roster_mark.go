package registry

import (
	"cmp"
	"context"
)

// mark brings the marks of the shelves up to date: of those that are written now and,
// if told to check, of those that were: with the mark Redis may have lost entries. Then
// of those that are to be written, of which nothing is written before. An error says
// that some could not be marked.
func (l *roster) mark(ctx context.Context, check bool) error {
	number := l.next()
	var ends, begins []*call
	whole := l.shelvesThat(func(s shelf) bool { return s.began > 0 && s.pending == 0 && (check || !s.whole) })
	for _, n := range whole {
		ends = append(ends, l.r.markCall(l.generation, "whole", n, number, l.shelves[n].began))
	}
	unended := l.r.exec(ctx, ends...)
	var lost []int
	for i, n := range whole {
		switch text(at(ends[i].reply, 0)) {
		case "ok":
			l.shelves[n].whole = true
		case "lost":
			lost = append(lost, n)
		}
	}
	if len(lost) > 0 {
		entries := l.rewrite(lost)
		l.r.log.Warn("writes users and groups again that Redis may have lost", "entries", entries, "slots", len(lost))
		l.r.cfg.Hooks.Rewritten(entries)
	}
	begin := l.shelvesThat(func(s shelf) bool { return s.began == 0 })
	for _, n := range begin {
		begins = append(begins, l.r.markCall(l.generation, "writing", n, number, 0))
	}
	unbegun := l.r.exec(ctx, begins...)
	for i, n := range begin {
		if text(at(begins[i].reply, 0)) == "ok" {
			l.shelves[n].began = number
		}
	}
	return cmp.Or(unended, unbegun)
}

func (l *roster) shelvesThat(are func(shelf) bool) (list []int) {
	for n, s := range l.shelves {
		if are(s) {
			list = append(list, n)
		}
	}
	return list
}

// rewrite has all entries of some shelves written again, one shelf after the other, and
// returns how many there are.
func (l *roster) rewrite(which []int) (entries int) {
	var on [shelves][]*hosted
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		n := e.id.shelf()
		on[n] = append(on[n], e)
	}
	for _, n := range which {
		l.shelves[n] = shelf{pending: len(on[n])}
		entries += len(on[n])
		for _, e := range on[n] {
			e.entry, e.again = "", true
			l.queue(e)
		}
	}
	return entries
}

// markCall marks a shelf for a gateway's generation; see mark.lua.
func (r *Registry) markCall(m member, state string, shelf int, number, began uint64) *call {
	return &call{
		script: scriptMark, keys: []string{r.keys.marks(shelf)}, n: 1,
		args: []any{m.incarnation.String(), m.generation, state, ms(r.keepMarks()), number, began},
	}
}
