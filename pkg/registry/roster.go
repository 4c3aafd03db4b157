package registry

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// roster brings to Redis which audiences this node hosts, and that it is a gateway
// at all. At most one exchange is under way, and what gathers meanwhile goes with the
// next one.
//
// The entries of audiences lie in other slots than the leases, so no script can keep
// them right with a lease. An index of them, in the slot of the leases, can: an audience
// is in the index before it has an entry, and as long as it has one. Whoever reaps this
// node finds all its entries there. Number and checksum of the index are compared
// with each renewal; when they differ, or the lease is gone, a new generation writes
// everything again, and the one before is reaped.
//
// That tells nothing of the entries themselves, which a server may lose that has no
// leases, or in a failover. So audiences share a few slots, the shelves, and in each of
// them a mark says that the entries of this node are whole. It goes where they go, and
// counts for one run of a server only. Until a mark is right again, those who look ask
// this node in any case. Exchanges are numbered, and the mark has the number of the last
// one, so that what comes late, after an exchange that followed it, changes nothing.
type roster struct {
	// immutable
	r     *Registry
	keys  serviceKeys
	wake  chan struct{} // capacity 1
	ended chan struct{} // closed when run has ended

	mu      sync.Mutex
	entries map[Audience]*hosted // guarded by mu: wanted, or in Redis
	fresh   []*hosted            // guarded by mu: to be looked at
	names   string               // guarded by mu: of this node's gateways, sorted, with commas
	closed  bool                 // guarded by mu
	cancel  context.CancelFunc   // guarded by mu: ends run

	// owned by run
	generation member
	member     string // its lease member; "" before the first
	joined     bool
	cause      Cause
	beatDue    bool
	markDue    bool   // the marks are to be looked at
	number     uint64 // of the last exchange about entries or marks
	shelves    [shelves]shelf
	retry      []*hosted // sent with unknown outcome
	count      int       // of the index, as far as Redis confirmed it
	sum        int64     // over the index
}

// shelf is what is known of the entries in one slot.
type shelf struct {
	began   uint64 // the exchange that marked that they are being written; 0: none yet
	whole   bool   // they are marked as written
	pending int    // how many of them must be written before
}

// hosted is one audience.
type hosted struct {
	id     Audience
	wish        // guarded by roster.mu
	queued bool // guarded by roster.mu: in fresh

	// owned by run
	indexed bool
	entry   string // in Redis, as far as is known
	remains bool   // a generation before may have left an entry that no index has
	again   bool   // is pending for its shelf
	retried bool   // is in retry
	shown   uint64 // the last round for which those who watch were reported
}

// wish is what a node wants of an audience.
type wish struct {
	want  Hosting
	seen  func([]Watcher, error)
	round uint64 // counts the values of seen, from 1
}

// rosterBatch is how many audiences one exchange is about, and how many that were tried
// before.
const rosterBatch = 256

func newRoster(r *Registry) *roster {
	return &roster{
		r: r, keys: r.keys.gateways(), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		entries: map[Audience]*hosted{}, cancel: func() {}, cause: CauseJoin,
	}
}

func (l *roster) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *roster) host(a Audience, h Hosting, seen func([]Watcher, error)) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		if h.Members > 0 && seen != nil {
			seen(nil, fmt.Errorf("%w: this node stops being a gateway", ErrNotJoined))
		}
		return
	}
	e := l.entries[a]
	if e == nil {
		if h.Members <= 0 {
			l.mu.Unlock()
			return
		}
		e = &hosted{id: a}
		l.entries[a] = e
	}
	e.want = h
	if seen != nil {
		e.seen = seen
		e.round++
	}
	l.queue(e)
	l.mu.Unlock()
}

// queue has e looked at. mu is held.
func (l *roster) queue(e *hosted) {
	if e.queued {
		return
	}
	e.queued = true
	l.fresh = append(l.fresh, e)
	l.signal()
}

func (l *roster) setNames(names string) {
	l.mu.Lock()
	l.names = names
	l.mu.Unlock()
	l.signal()
}

// close fails those who wait to be seen and ends run.
func (l *roster) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	var waiting []func([]Watcher, error)
	for _, e := range l.entries {
		if e.want.Members > 0 {
			waiting = append(waiting, e.seen)
		}
	}
	l.cancel()
	l.mu.Unlock()
	for _, seen := range waiting {
		seen(nil, fmt.Errorf("%w: this node stops being a gateway", ErrNotJoined))
	}
}

// run serves the roster until it is closed or ctx ends.
func (l *roster) run(ctx context.Context) {
	defer close(l.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	closed := l.closed
	l.cancel = cancel
	l.mu.Unlock()
	if closed {
		return
	}
	l.r.repeat(ctx, l.wake, &l.beatDue, l.work)
}

// work does all that there is to do.
func (l *roster) work(ctx context.Context, tick <-chan time.Time) error {
	for ctx.Err() == nil {
		select {
		case <-tick:
			l.beatDue = true
		default:
		}
		if !l.joined {
			if !l.r.cfg.Alive() {
				return errDeaf
			}
			if err := l.join(ctx); err != nil {
				return err
			}
		}
		if l.beatDue { // before all else: a server without leases that is away must not cost the lease
			if err := l.beat(ctx, len(l.retry) == 0); err != nil {
				return err
			}
			l.beatDue, l.markDue = false, true
			continue
		}
		unmarked := l.mark(ctx, l.markDue)
		l.markDue = l.markDue && unmarked != nil
		batch := l.take()
		if len(batch) > 0 {
			if err := l.send(ctx, batch); err != nil {
				return err
			}
		}
		if unmarked != nil || len(batch) == 0 {
			return unmarked
		}
	}
	return nil
}

// take returns what to deal with next. What was tried before does not hold up the rest.
func (l *roster) take() []*hosted {
	n := min(rosterBatch, len(l.retry))
	batch := slices.Clone(l.retry[:n])
	l.retry = l.retry[n:]
	for _, e := range batch {
		e.retried = false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(rosterBatch, len(l.fresh))
	for _, e := range l.fresh[:n] {
		e.queued = false
		batch = append(batch, e)
	}
	if l.fresh = l.fresh[n:]; len(l.fresh) == 0 {
		l.fresh = nil // let the array go
	}
	return batch
}

// next numbers an exchange.
func (l *roster) next() uint64 {
	l.number++
	return l.number
}

// join starts a generation and has everything written again.
func (l *roster) join(ctx context.Context) error {
	generation := gatewayMember(l.r.cfg.Self, l.r.hosting.Add(1))
	next := generation.String()
	c := &call{
		script: scriptJoin,
		keys:   []string{l.keys.leases, l.keys.clock, l.keys.checksums, l.keys.version, l.keys.dead},
		args:   []any{next, l.member, ms(l.r.cfg.LeaseTTL), l.r.keys.events(), gatewaysEntry},
	}
	if err := l.r.exec(ctx, c); err != nil {
		return err
	}
	if text(at(c.reply, 0)) == "superseded" {
		return fmt.Errorf("%w (%s)", ErrSuperseded, text(at(c.reply, 1)))
	}
	before := l.member
	l.generation, l.member, l.joined, l.retry, l.count, l.sum = generation, next, true, nil, 0, 0
	l.mu.Lock()
	for _, e := range l.entries {
		e.indexed, e.shown, e.remains, e.retried = false, 0, true, false
	}
	total := len(l.entries)
	l.mu.Unlock()
	all := make([]int, shelves)
	for n := range all {
		all[n] = n
	}
	l.rewrite(all)
	if before != "" && l.cause == CauseDead {
		l.r.tellRevived()
	}
	if before != "" {
		l.r.reaper.add(gatewaysEntry, before, false)
		l.r.log.Warn("writes again which users and groups this gateway has", "cause", l.cause, "entries", total, "generation", next)
		l.r.cfg.Hooks.Rewritten(total)
	}
	l.r.cfg.Hooks.Joined(gatewaysEntry, KindGateway, l.cause, total)
	return l.r.exec(ctx, l.namesCall()) // if it fails, the next renewal writes them
}

func (l *roster) namesCall() *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &call{
		script: scriptNames, keys: []string{l.keys.leases, l.keys.instances, l.keys.version},
		args: []any{l.member, l.r.self(), string(StateServing) + " " + l.names, l.r.keys.events(), gatewaysEntry}, n: 1,
	}
}

// beat renews the lease and, if told to, compares the index.
func (l *roster) beat(ctx context.Context, compare bool) error {
	if !l.r.cfg.Alive() {
		return nil
	}
	count, sum := "", ""
	if compare {
		count, sum = strconv.Itoa(l.count), strconv.FormatInt(l.sum, 10)
	}
	c := l.r.beatCall(l.keys, l.member, count, sum)
	if err := l.r.exec(ctx, c, l.namesCall()); err != nil {
		return err
	}
	if status := text(at(c.reply, 0)); status != "ok" {
		l.joined, l.cause = false, Cause(status)
	}
	return nil
}
