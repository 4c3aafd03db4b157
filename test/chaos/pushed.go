package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
// another, from the first push on that began when the session knew that it is a member.
// Of those that began before, any may come. The zero value is ready.
type pushes struct {
	since time.Time // when the session learned that it is a member; zero before
	from  map[string]*pushed
}

// pushed is what came from one pusher.
type pushed struct {
	sequence
	owed bool // what began after the last one must come
}

// take notes a push.
func (p *pushes) take(n probe.Pushed) {
	if p.from == nil {
		p.from = map[string]*pushed{}
	}
	s := p.from[n.From]
	if s == nil {
		s = &pushed{}
		p.from[n.From] = s
	}
	if !s.owed && n.Number > s.last {
		s.last = n.Number
	} else {
		s.take(n.Number)
	}
	s.owed = s.owed || !p.since.IsZero() && n.Began.After(p.since)
}

// missed is a push that did not reach a session.
type missed struct {
	probe.Numbered
	gateway string    // URL
	noticed time.Time // when a later one came
}

// judge adds up what is wrong with a session at a gateway.
func (p *pushes) judge(v *verdict, gateway string) {
	for from, s := range p.from {
		for n, noticed := range s.missing {
			v.unpushed = append(v.unpushed, missed{probe.Numbered{From: from, Number: n}, gateway, noticed})
		}
		v.duplicated += s.duplicated
		v.reordered += s.reordered
	}
}

// askPushers counts the pushes that sessions missed as lost, unless their pusher was
// told that they might not reach everybody.
func (r *runner) askPushers(ctx context.Context, row *Row) {
	var lost []missed
	until(ctx, resultPatience, func() bool {
		lost = slices.DeleteFunc(slices.Clone(row.unpushed), func(m missed) bool { return r.toldUnreached(m.Numbered) })
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
	row.Problems = append(row.Problems, untold(lost)...)
}

// untold describes pushes that did not reach sessions: those that one session missed in
// a row together.
func untold(lost []missed) []string {
	slices.SortFunc(lost, func(a, b missed) int {
		return cmp.Or(a.noticed.Compare(b.noticed), strings.Compare(a.From, b.From), cmp.Compare(a.Number, b.Number))
	})
	var list []string
	for len(lost) > 0 {
		n := 1
		for n < len(lost) && lost[n].From == lost[0].From && lost[n].Number == lost[0].Number+n {
			n++
		}
		list = append(list, fmt.Sprintf("pushes %d to %d of %s did not reach a session at %s, which noticed at %s; nobody was told",
			lost[0].Number, lost[n-1].Number, lost[0].From, lost[0].gateway, lost[0].noticed.Format("15:04:05.000")))
		lost = lost[n:]
	}
	return list
}

// pushers is of how many pushers something has come.
func (s *session) pushers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pushed.from)
}

// toldUnreached reports whether a pusher knows that a push may have missed somebody.
func (s *system) toldUnreached(n probe.Numbered) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen()
	_, ok := s.unreached[n]
	return ok
}
