package link

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// minTick is the least time between two rounds of the timer goroutine.
const minTick = time.Millisecond

// tellLimit is the longest pause between two attempts to tell a peer that the
// link was reset.
const tellLimit = 5 * time.Second

// trimAfter is how often a large send buffer is looked at.
const trimAfter = time.Second

// timers is the one timer goroutine of a mesh, and what others leave for it. A
// link with nothing outstanding is not known to it.
type timers struct {
	start  time.Time
	wake   chan struct{} // capacity 1
	wakeAt atomic.Int64  // nanoseconds after start until which it sleeps

	active []*Link // owned by the timer goroutine

	mu     sync.Mutex
	arming []*Link // to become active
	doomed []*Link // to be reset
}

// arm wakes the goroutine if it would sleep beyond t. first is set for a link that
// is not active yet.
func (t *timers) arm(l *Link, first bool, at time.Time) {
	if first {
		t.mu.Lock()
		t.arming = append(t.arming, l)
		t.mu.Unlock()
	}
	if int64(at.Sub(t.start)) < t.wakeAt.Load() {
		signal(t.wake)
	}
}

func (t *timers) doom(l *Link) {
	t.mu.Lock()
	t.doomed = append(t.doomed, l)
	t.mu.Unlock()
	signal(t.wake)
}

// signal wakes the reader of a channel of capacity 1, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drive runs the timers until ctx ends.
func (m *Mesh) drive(ctx context.Context) {
	t := &m.timers
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.wakeAt.Store(math.MaxInt64)
		now := m.now()
		wait := time.Hour
		if next := m.tick(now); !next.IsZero() {
			wait = max(next.Sub(now), minTick)
			t.wakeAt.Store(int64(next.Sub(t.start)))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			continue
		case <-t.wake:
		}
		timer.Reset(minTick - min(m.now().Sub(now), minTick))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// tick does what is due at now and returns when to be called next; zero: when
// something is armed.
func (m *Mesh) tick(now time.Time) (next time.Time) {
	t := &m.timers
	t.mu.Lock()
	t.active = append(t.active, t.arming...)
	clear(t.arming)
	t.arming = t.arming[:0]
	doomed := t.doomed
	t.doomed = nil
	t.mu.Unlock()

	for _, l := range doomed {
		l.meetDoom(now)
	}
	kept := t.active[:0]
	for _, l := range t.active {
		at, expired := l.tick(now)
		if expired {
			m.drop(l)
			continue
		}
		if !at.IsZero() {
			kept = append(kept, l)
			next = earliest(next, at)
		}
	}
	clear(t.active[len(kept):])
	t.active = kept
	return next
}

// meetDoom performs the reset that doom announced.
func (l *Link) meetDoom(now time.Time) {
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	l.mu.Lock()
	if l.doomed != 0 {
		l.reset(l.doomed, l.gen+1, now)
	}
	l.unlock()
}

// tick does what is due on one link. It returns when the next thing is; zero
// means nothing is and the link is no longer active. expired says that the link is
// forgotten and can be dropped.
func (l *Link) tick(now time.Time) (next time.Time, expired bool) {
	l.mu.Lock()
	if l.stuck(now) {
		l.mu.Unlock()
		l.recvMu.Lock() // comes before mu
		l.mu.Lock()
		if l.stuck(now) {
			l.reset(CauseTimeout, l.gen+1, now)
		}
		l.recvMu.Unlock()
	}
	defer l.unlock()
	if l.over {
		l.active = false
		return time.Time{}, false
	}
	if due(l.ackAt, now) {
		l.ackDue, l.ackAt = true, time.Time{}
	}
	if l.snd.tick(now) {
		l.askDue = true
	}
	l.tell(now)
	l.trim(now)
	if l.forgotten && !l.touched() {
		if next = l.resetAt.Add(l.mesh.cfg.ForgottenFor); due(next, now) {
			l.refuse, l.over, l.active = ErrGone, true, false
			return time.Time{}, true
		}
	}
	next = earliest(next, earliest(earliest(l.ackAt, l.snd.askAt), earliest(l.tellAt, l.trimAt)))
	if after := l.mesh.cfg.ResetAfter; after > 0 && !l.snd.stuckAt.IsZero() {
		next = earliest(next, l.snd.stuckAt.Add(after))
	}
	l.active = !next.IsZero()
	return next, false
}

// stuck reports whether frames have waited too long for an acknowledgement.
func (l *Link) stuck(now time.Time) bool {
	after := l.mesh.cfg.ResetAfter
	return !l.over && after > 0 && !l.snd.stuckAt.IsZero() && now.Sub(l.snd.stuckAt) >= after
}

// tell repeats to a peer that may not know it that the link was reset.
func (l *Link) tell(now time.Time) {
	if !due(l.tellAt, now) {
		return
	}
	l.askDue = true
	l.tellFor = min(2*l.tellFor, tellLimit)
	l.tellAt = now.Add(l.tellFor)
	if now.Sub(l.resetAt) > l.mesh.cfg.ForgottenFor {
		l.tellAt = time.Time{}
	}
}

// trim gives memory back when a link has become quiet.
func (l *Link) trim(now time.Time) {
	if due(l.trimAt, now) {
		l.snd.data.trim()
		l.snd.batches.trim()
		l.trimAt = time.Time{}
	}
	if l.trimAt.IsZero() && l.snd.data.large() {
		l.trimAt = now.Add(trimAfter)
	}
}

func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// earliest returns the earlier time; a zero time never comes.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
