package registry

import (
	"context"
	"strings"
)

// mark brings the marks of the shelves up to date: of those that are written now and,
// if told to check, of those that were: with the mark Redis may have lost entries. Then
// of those that are to be written. It must come before anything is written.
func (l *roster) mark(ctx context.Context, check bool) error {
	if !l.joined {
		return nil
	}
	whole := l.shelvesThat(func(s shelf) bool { return s.begun && s.pending == 0 && (check || !s.whole) })
	ends := l.r.markCalls(l.member, "whole", whole)
	if err := l.r.exec(ctx, ends...); err != nil {
		return err
	}
	var lost []int
	for i, n := range whole {
		if l.shelves[n].whole = text(at(ends[i].reply, 0)) == "ok"; !l.shelves[n].whole {
			lost = append(lost, n)
		}
	}
	if len(lost) > 0 {
		entries := l.rewrite(lost)
		l.r.log.Warn("writes users and groups again that Redis may have lost", "entries", entries, "slots", len(lost))
	}
	begin := l.shelvesThat(func(s shelf) bool { return !s.begun })
	if err := l.r.exec(ctx, l.r.markCalls(l.member, "writing", begin)...); err != nil {
		return err
	}
	for _, n := range begin {
		l.shelves[n].begun = true
	}
	return nil
}

func (l *roster) shelvesThat(are func(shelf) bool) (list []int) {
	for n, s := range l.shelves {
		if are(s) {
			list = append(list, n)
		}
	}
	return list
}

// rewrite has all entries of some shelves written again, and returns how many there are.
func (l *roster) rewrite(which []int) (entries int) {
	var again [shelves]bool
	for _, n := range which {
		l.shelves[n], again[n] = shelf{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if n := e.id.shelf(); again[n] {
			e.entry, e.again = "", true
			l.shelves[n].pending++
			entries++
			l.queue(e)
		}
	}
	return entries
}

// allShelves lists them.
func allShelves() []int {
	list := make([]int, shelves)
	for n := range list {
		list[n] = n
	}
	return list
}

// markCalls marks shelves for a gateway's generation, named as its lease; see mark.lua.
func (r *Registry) markCalls(lease, state string, which []int) []*call {
	generation := lease[len(gatewayPrefix):]
	dot := strings.LastIndexByte(generation, '.')
	calls := make([]*call, len(which))
	for i, n := range which {
		calls[i] = &call{
			script: scriptMark, keys: []string{r.keys.marks(n)},
			args: []any{generation[:dot], generation[dot+1:], state, ms(r.keepMarks())}, n: 1,
		}
	}
	return calls
}
