package registry

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

var (
	// ErrNoInstance says that a service has no serving instance now.
	ErrNoInstance = errors.New("no serving instance")

	// ErrUnavailable says that Redis did not answer in time, or that the registry
	// does not run.
	ErrUnavailable = errors.New("registry unavailable")

	// ErrSuperseded says that a later start of this node is alive: two processes use
	// one node id.
	ErrSuperseded = errors.New("a later start of this node is alive; give each process a node id of its own")

	// ErrNotJoined says that the node must JoinGateway, or Announce the service,
	// first.
	ErrNotJoined = errors.New("not a member")
)

// Registry is one node's part in the registry. All methods may be called from any
// goroutine.
type Registry struct {
	// immutable
	cfg  Config
	log  *slog.Logger
	keys keyspace

	// membership is held while members are read and written in Redis, so that a
	// renewal cannot bring back what was just withdrawn. A channel, because those who
	// wait for it may give up.
	membership chan struct{}
	instances  map[string]*instance // guarded by membership: services that this node serves
	names      map[string]int       // guarded by membership: gateway names -> how often joined

	mu      sync.Mutex
	lanes   map[string]*lane            // guarded by mu: services that this node pins in
	pinning bool                        // guarded by mu: this node is a gateway
	roster  *roster                     // guarded by mu: what it has as a gateway; else nil
	revived []func()                    // guarded by mu: see OnRevived
	spawn   func(func(context.Context)) // guarded by mu: runs a goroutine; nil while Run does not run
	ended   bool                        // guarded by mu: Run has ended

	generation atomic.Uint64 // the last one that a lane used
	hosting    atomic.Uint64 // the last one that a roster used
	down       atomic.Bool   // Redis does not answer
	renewed    atomic.Int64  // when the last renewal of a lease began that succeeded, in ns since clock

	watch  *watcher
	reaper *reaper
}

// New makes a registry. It starts nothing and does not talk to Redis.
func New(cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Registry{
		cfg:        cfg,
		log:        cfg.Logger,
		keys:       newKeyspace(cfg.Namespace),
		membership: make(chan struct{}, 1),
		instances:  map[string]*instance{},
		names:      map[string]int{},
		lanes:      map[string]*lane{},
	}
	r.watch = newWatcher(r)
	r.reaper = newReaper(r)
	return r, nil
}

// Run renews leases, pins, reaps and keeps the view until ctx ends, and returns
// when all its goroutines have ended. It says no goodbye: see [Registry.Withdraw]
// and [Registry.LeaveGateway]. It may be called once.
func (r *Registry) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	spawn := func(f func(context.Context)) { group.Go(func() { f(ctx) }) }

	r.mu.Lock()
	if r.spawn != nil || r.ended {
		r.mu.Unlock()
		return errors.New("registry: Run may be called once")
	}
	r.spawn = spawn
	for _, l := range r.lanes {
		spawn(l.run)
	}
	if r.roster != nil {
		spawn(r.roster.run)
	}
	r.mu.Unlock()

	spawn(r.keep)
	spawn(r.reaper.run)
	spawn(r.watch.run)
	spawn(r.watch.listen)
	<-ctx.Done()

	r.mu.Lock() // from here on no lane is spawned
	r.spawn, r.ended = nil, true
	for name, l := range r.lanes {
		l.close()
		delete(r.lanes, name)
	}
	if r.roster != nil {
		r.roster.close()
	}
	r.mu.Unlock()
	group.Wait()
	return nil
}

// lock takes the right to change this node's memberships.
func (r *Registry) lock(ctx context.Context) error {
	select {
	case r.membership <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Registry) unlock() { <-r.membership }

// persist runs f until it succeeds or fails for another reason than Redis, about a
// LeaseTTL at most.
func (r *Registry) persist(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.LeaseTTL+r.cfg.CallTimeout)
	defer cancel()
	for wait := firstBackoff; ; wait = nextBackoff(wait) {
		err := f(ctx)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// repeat calls work until ctx ends: when there is something (wake), with each tick,
// which sets beatDue, and after an error when a pause is over. Whoever comes during the
// pause waits: nothing else would help.
func (r *Registry) repeat(ctx context.Context, wake <-chan struct{}, beatDue *bool, work func(context.Context, <-chan time.Time) error) {
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	backoff := firstBackoff
	for ctx.Err() == nil {
		now, again := wake, (<-chan time.Time)(nil)
		if err := work(ctx, tick.C); err == nil {
			backoff = firstBackoff
		} else {
			now, again = nil, time.After(backoff)
			backoff = nextBackoff(backoff)
		}
		select {
		case <-ctx.Done():
		case <-now:
		case <-again:
		case <-tick.C:
			*beatDue = true
		}
	}
}

// Waits between attempts while Redis does not answer.
const (
	firstBackoff = 25 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
)

func nextBackoff(wait time.Duration) time.Duration { return min(2*wait, lastBackoff) }

// ms is a duration as the scripts take it.
func ms(d time.Duration) int64 { return d.Milliseconds() }

// self is this node's name in Redis.
func (r *Registry) self() string { return r.cfg.Self.String() }

// View returns the latest snapshot of the cluster; never nil. While Redis does not
// answer it stays as it was.
func (r *Registry) View() *View { return r.watch.view.Load() }

// Synced is closed when the view has been read from Redis for the first time.
func (r *Registry) Synced() <-chan struct{} { return r.watch.synced }

// clock is what renewals are counted from.
var clock = time.Now()

// LeaseMargin is what is left of a lease that is renewed now and then, since its last
// renewal; below zero others take this node for dead. It reports false while this
// node has renewed none: one that serves nothing, or pins nothing, needs none.
func (r *Registry) LeaseMargin() (time.Duration, bool) {
	at := r.renewed.Load()
	if at == 0 {
		return 0, false
	}
	return r.cfg.LeaseTTL - time.Since(clock) + time.Duration(at), true
}

// OnChange calls f after each change of routes or members, not of pin counts, and
// never twice at a time. f must not block for long and must not call stop, after
// which f is called no more, except by a call that is in progress.
func (r *Registry) OnChange(f func(old, new *View)) (stop func()) { return r.watch.onChange(f) }

// OnRevived has f called when this node, a gateway, has joined again after others
// declared it dead: in between nobody looked here for users and groups. f must not
// block.
func (r *Registry) OnRevived(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revived = append(r.revived, f)
}

func (r *Registry) tellRevived() {
	r.mu.Lock()
	list := slices.Clone(r.revived)
	r.mu.Unlock()
	for _, f := range list {
		f()
	}
}

// incarnation parses a name that a script returned; zero if it is empty or not one.
func incarnation(s string) wire.Incarnation {
	i, err := wire.ParseIncarnation(s)
	if err != nil {
		return wire.Incarnation{}
	}
	return i
}
