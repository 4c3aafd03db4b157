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
// Of those that began before, any may come. In the end, when all is calm, every session
// gets what every pusher pushes. The zero value is ready.
type pushes struct {
	since time.Time // when the session learned that it is a member; zero before
	from  map[string]*pushed
}

// pushed is what came from one pusher.
type pushed struct {
	probe.Sequence
	owed  bool      // what began after the last one must come
	began time.Time // when the last one to come began
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
	owed := func(began time.Time) bool { return !p.since.IsZero() && began.After(p.since) }
	if !s.owed && n.Number > s.Last {
		s.Last = n.Number - 1
		if owed(n.Before) { // so that one is the first
			s.Last = max(0, n.Number-2)
		}
	}
	s.Take(n.Number)
	s.owed = s.owed || owed(n.Began)
	s.began = n.Began
}

// lacks returns the pushers of which nothing has come that began after t, though the
// session knew then that it is a member.
func (p *pushes) lacks(pushers []string, t time.Time) []string {
	if p.since.IsZero() || p.since.After(t) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(pushers), func(name string) bool {
		s := p.from[name]
		return s != nil && s.began.After(t)
	})
}

// missed is a push that did not reach a session.
type missed struct {
	probe.Numbered
	gateway string    // its node
	noticed time.Time // when a later one came
}

// judge adds up what is wrong with the session.
func (p *pushes) judge(v *verdict) {
	for from, s := range p.from {
		for n, noticed := range s.Missing {
			v.unpushed = append(v.unpushed, missed{probe.Numbered{From: from, Number: n}, v.gateway, noticed})
		}
		v.Add(probe.Damage{Duplicated: s.Duplicated, Reordered: s.Reordered}) // what is lost, pushers are asked about
	}
}

// askPushers counts the pushes that sessions missed as lost, unless their pusher was
// told that they might not reach everybody.
func (r *runner) askPushers(ctx context.Context, row *Row) {
	var lost []missed
	until(ctx, r.within(resultPatience), func() bool {
		lost = slices.DeleteFunc(slices.Clone(row.unpushed), func(m missed) bool { return r.toldUnreached(m.Numbered) })
		return len(lost) == 0
	})
	row.unpushed = nil
	now := time.Now()
	var unpushed []string
	until(ctx, r.within(MaxCountDelay), func() bool {
		unpushed = r.unpushed(now)
		return len(unpushed) == 0
	})
	row.Lost += len(lost) + len(unpushed)
	row.Problems = append(row.Problems, unpushed...)
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

// unpushed says which sessions lack pushes of whom that began after t; and if there is no
// session to ask.
func (r *runner) unpushed(t time.Time) (list []string) {
	var pushers []string
	for _, name := range r.instanceNames() {
		pushers = append(pushers, name+" to the group", name+" to the user")
	}
	asked := 0
	for _, s := range r.crowd.sessions() {
		s.mu.Lock()
		if !s.closed && !s.pushed.since.IsZero() {
			asked++
			for _, name := range s.pushed.lacks(pushers, t) {
				list = append(list, fmt.Sprintf("a session at %s gets no pushes of %s any more", s.gateway, name))
			}
		}
		s.mu.Unlock()
	}
	if asked == 0 {
		return []string{"no session is a member of group and user"}
	}
	return list
}

// toldUnreached reports whether a pusher knows that a push may have missed somebody.
func (s *system) toldUnreached(n probe.Numbered) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen()
	_, ok := s.unreached[n]
	return ok
}
