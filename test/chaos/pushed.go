package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/test/probe"
)

const (
	// pushPace is how often each instance pushes to the group and to the user that all
	// sessions are in.
	pushPace = 100 * time.Millisecond
	// resultPatience is how long a pusher may take to learn what became of a push: the
	// timeout of the push, and some.
	resultPatience = 8 * time.Second
)

// pushes checks what is pushed to a session: of each pusher the numbers follow one
// another, from the first that comes. The zero value is ready.
type pushes map[string]*sequence

// take notes a push.
func (p *pushes) take(n probe.Numbered) {
	if *p == nil {
		*p = pushes{}
	}
	s := (*p)[n.From]
	if s == nil {
		s = &sequence{last: n.Number - 1}
		(*p)[n.From] = s
	}
	s.take(n.Number)
}

// judge adds up what is wrong.
func (p *pushes) judge(v *verdict) {
	for from, s := range *p {
		for n := range s.missing {
			v.unpushed = append(v.unpushed, probe.Numbered{From: from, Number: n})
		}
		v.duplicated += s.duplicated
		v.reordered += s.reordered
	}
}

// askPushers counts the pushes that sessions missed as lost, unless their pusher was
// told that they might not reach everybody.
func (r *runner) askPushers(ctx context.Context, row *Row) {
	var lost []probe.Numbered
	until(ctx, resultPatience, func() bool {
		lost = slices.DeleteFunc(slices.Clone(row.unpushed), r.toldUnreached)
		return len(lost) == 0
	})
	row.unpushed = nil
	// A pusher that did not know the group when Redis lost it finds it within two leases.
	if !until(ctx, MaxCountDelay, func() bool {
		return slices.ContainsFunc(r.crowd.sessions(), func(s *session) bool { return s.pushers() > 0 })
	}) {
		row.Problems = append(row.Problems, "no session was pushed to")
	}
	row.Lost += len(lost)
	for _, n := range lost {
		row.Problems = append(row.Problems, fmt.Sprintf("push %d of %s did not reach a session, and nobody was told", n.Number, n.From))
	}
}

// pushers is of how many pushers something has come.
func (s *session) pushers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pushed)
}

// toldUnreached reports whether a pusher knows that a push may have missed somebody.
func (s *system) toldUnreached(n probe.Numbered) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen()
	_, ok := s.unreached[n]
	return ok
}
