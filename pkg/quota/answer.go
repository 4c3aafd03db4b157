package quota

import (
	"strconv"
	"time"
)

// ask is what a gateway wants of one subject.
type ask struct {
	s               *subject
	open, waiting   int
	messages, bytes int64 // tokens; negative ones are given back
	leastBytes      int64 // of bytes, with fewer of which nobody is helped
	dead            []string
	answered        chan struct{} // closed with the answer; nil if no message waits for it
}

// answer is what it gets.
type answer struct {
	connections int
	granted     [3]int64 // connections, messages, bytes
	waits       [3]time.Duration
	owners      []string // other gateways, if not all connections were granted
}

// args are the arguments of lease.lua.
func (a ask) args(self string) []any {
	args := []any{self, a.open, a.waiting, a.s.limits.Connections, connectionsTTL.Milliseconds()}
	for _, r := range []struct {
		rate        Rate
		want, least int64
	}{{a.s.limits.ConnectionRate, int64(a.waiting), 1}, {a.s.messages.rate, a.messages, 1}, {a.s.bytes.rate, a.bytes, a.leastBytes}} {
		args = append(args, strconv.FormatFloat(r.rate.PerSecond, 'f', -1, 64), strconv.FormatFloat(r.rate.Size(), 'f', -1, 64), r.want, r.least)
	}
	for _, d := range a.dead {
		args = append(args, d)
	}
	return args
}

func parseAnswer(reply []any) (a answer, ok bool) {
	if len(reply) < 7 {
		return a, false
	}
	a.connections = int(number(reply[0]))
	for n := range 3 {
		a.granted[n] = number(reply[1+2*n])
		a.waits[n] = time.Duration(number(reply[2+2*n])) * time.Millisecond
	}
	for _, owner := range reply[7:] {
		a.owners = append(a.owners, text(owner))
	}
	return a, true
}

// ask says what a subject needs now.
func (s *subject) ask() ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.q.clock()
	a := ask{s: s, open: s.open, waiting: len(s.waiting), answered: s.answered}
	a.messages = s.wanted(&s.messages, 1, now)
	a.bytes = s.wanted(&s.bytes, s.bytes.least, now)
	a.leastBytes = max(s.bytes.least-s.bytes.left.Load(), 1)
	s.bytes.least, s.answered = 0, nil // what comes from now on waits for the next answer
	return a
}

// wanted is how many tokens of a rate to ask for: what was spent since the last
// lease, doubled, or what a second takes. A subject without connections gives back
// what it has. mu is held.
func (s *subject) wanted(l *lease, least int64, now time.Duration) int64 {
	if !l.rate.Limited() {
		return 0
	}
	left := l.left.Load()
	if now > time.Duration(s.expires.Load()) {
		l.left.Add(-left) // forfeited
		l.size -= left
		left = 0
	}
	if s.open+len(s.waiting) == 0 {
		l.left.Add(-left)
		return -left
	}
	spent, took := float64(l.size-left), max((now-s.renewed).Seconds(), 0.5)
	burst := l.rate.Size()
	want := min(max(spent/took, burst/firstShare), max(burst/topShare, l.rate.PerSecond*tick.Seconds()))
	if left < least {
		want = max(want, float64(least))
	}
	return max(int64(want)-left, 0)
}

// localAnswer stands in for Redis while that is away: every gateway allows the full
// limits.
func (s *subject) localAnswer(a ask) (out answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.q.clock()
	want := a.waiting
	if limit := s.limits.Connections; limit > 0 {
		want = max(min(want, limit-a.open), 0)
	}
	take := func(n int, r Rate, want, least int64) int64 {
		if !r.Limited() || want <= 0 {
			return want
		}
		for ; want >= least && want > 0; want /= 2 {
			if out.waits[n] = s.local[n].Take(r, float64(want), now); out.waits[n] == 0 {
				return want
			}
		}
		if out.waits[n] = s.local[n].Take(r, float64(least), now); out.waits[n] > 0 {
			return 0
		}
		return least
	}
	out.granted[0] = take(0, s.limits.ConnectionRate, int64(want), 1)
	out.connections = int(out.granted[0])
	out.granted[1] = take(1, s.messages.rate, a.messages, 1)
	out.granted[2] = take(2, s.bytes.rate, a.bytes, a.leastBytes)
	return out
}

// apply hands out what was granted.
func (s *subject) apply(asked ask, got answer) {
	if s.applyLocked(asked, got) {
		s.q.enqueue(s)
	}
}

func (s *subject) applyLocked(asked ask, got answer) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.q.clock()
	s.grant(&s.messages, asked.messages, 1, got.granted[1], got.waits[1], now)
	s.grant(&s.bytes, asked.bytes, asked.leastBytes, got.granted[2], got.waits[2], now)
	s.renewed, s.touched = now, now
	s.expires.Store(int64(now + leaseTime))
	again = s.admitWaiting(asked, got, now)
	s.asked.Store(false)
	if asked.answered != nil {
		close(asked.answered)
	}
	return again
}

// grant adds what a lease got; if that is nothing, the wait is for the least. mu is
// held.
func (s *subject) grant(l *lease, asked, least, granted int64, wait, now time.Duration) {
	if !l.rate.Limited() {
		return
	}
	dry := int64(0)
	if asked > 0 && granted == 0 {
		dry = int64(now + min(max(wait, minDry), maxDry))
		l.empty.Store(int64(now + wait - l.rate.earns(float64(least))))
	}
	l.dry.Store(dry)
	l.size = l.left.Add(max(granted, 0))
	l.low.Store(l.size / 2)
}

// admitWaiting answers the handshakes that asked. It reports whether Redis must be
// asked again: others wait, or connections were granted to handshakes that gave up.
// mu is held.
func (s *subject) admitWaiting(asked ask, got answer, now time.Duration) (again bool) {
	n := min(asked.waiting, len(s.waiting)) // fewer if some gave up
	in := min(got.connections, n)
	for _, w := range s.waiting[:in] {
		w <- nil
	}
	s.open += in
	s.refused = nil
	if got.connections < asked.waiting {
		excess := &Excess{Kind: s.id.kind, Limit: Connections, RetryAfter: time.Second}
		s.until = now + minDry
		if wait := got.waits[0]; wait > 0 {
			excess.Limit, excess.RetryAfter = ConnectionRate, wait
			s.until = now + max(wait, minDry)
		}
		s.refused = excess
		for _, w := range s.waiting[in:n] {
			w <- excess
		}
	}
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	return len(s.waiting) > 0 || in < got.connections
}

// settled reports whether nothing of the subject must be remembered. q.mu is held.
func (s *subject) settled(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0 && len(s.waiting) == 0 && (s.refused == nil || now >= s.until)
}

// stale reports whether Redis must be reminded of the subject's connections. q.mu is
// held.
func (s *subject) stale(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open > 0 && s.limits.Connections > 0 && now-s.touched > connectionsTTL/3
}
