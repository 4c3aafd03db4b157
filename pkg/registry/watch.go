package registry

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// watcher keeps the view. Notifications make it look early; what makes it right is
// the poll.
type watcher struct {
	r      *Registry
	view   atomic.Pointer[View]
	synced chan struct{} // closed after the first refresh
	wake   chan struct{} // capacity 1

	mu        sync.Mutex
	dirty     map[string]struct{} // guarded by mu: services to look at before the next poll
	listeners []*listener         // guarded by mu

	// owned by run
	routesVersion string
	routes        map[string]Service
	tracked       map[string]*tracked
	first         bool      // nothing was read yet
	read          time.Time // when the last reading that succeeded began
}

type listener struct{ f func(old, new *View) }

// tracked is a service that the watcher looks at.
type tracked struct {
	version string // of members; "" before the first look
	members members
	counts  map[wire.Incarnation]int64
	missing map[member]time.Time
	view    *ServiceView
	idle    bool // Redis has nothing of it

	gone time.Time // since when it has not been in the route table; zero while it is there
}

// unannounced is what to show of a service that is not in the route table. For a TTL
// from when that was first seen, Redis may just have lost the table; how long nothing
// could be seen before does not count.
func (t *tracked) unannounced(name string, now time.Time, ttl time.Duration) Service {
	if t.gone.IsZero() {
		t.gone = now
	}
	switch {
	case t.view == nil:
		return Service{Name: name, OnInstanceLoss: PolicyClose}
	case now.Sub(t.gone) < ttl:
		return t.view.Service
	default:
		return Service{Name: name, OnInstanceLoss: t.view.OnInstanceLoss}
	}
}

const (
	// maxDirty bounds the names of notifications; beyond it, everything is looked at.
	maxDirty = 256
	// maxPipeline is how many services one exchange looks at.
	maxPipeline = 64
)

func newWatcher(r *Registry) *watcher {
	w := &watcher{
		r: r, synced: make(chan struct{}), wake: make(chan struct{}, 1),
		dirty: map[string]struct{}{}, tracked: map[string]*tracked{}, first: true,
	}
	w.view.Store(&View{Services: map[string]*ServiceView{}})
	return w
}

// touch asks for a look at a service soon.
func (w *watcher) touch(service string) {
	w.mu.Lock()
	if len(w.dirty) < maxDirty {
		w.dirty[service] = struct{}{}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) onChange(f func(old, new *View)) (stop func()) {
	l := &listener{f}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners = append(slices.Clone(w.listeners), l)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.listeners = slices.DeleteFunc(slices.Clone(w.listeners), func(have *listener) bool { return have == l })
	}
}

// run refreshes the view with every notification and poll.
func (w *watcher) run(ctx context.Context) {
	var poll time.Time // when the next poll is due
	for {
		w.mu.Lock()
		dirty := w.dirty
		w.dirty = map[string]struct{}{}
		w.mu.Unlock()
		all := len(dirty) == maxDirty
		if now := time.Now(); !now.Before(poll) {
			all = true
			poll = now.Add(w.r.cfg.Poll + rand.N(w.r.cfg.Poll/2))
		}
		if err := w.refresh(ctx, dirty, all); err == nil && w.first {
			w.first = false
			close(w.synced)
		}
		if err := wait(ctx, time.Until(poll), w.wake); err != nil {
			return
		}
	}
}

// wait returns after d, or when signal has something, or an error when ctx ends.
func wait(ctx context.Context, d time.Duration, signal <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-signal:
	case <-timer.C:
	}
	return nil
}

// refresh reads what changed and publishes a new view. How long a member is missing
// counts up to when the reading began: if this process is suspended in between, the
// answers are as old as that.
func (w *watcher) refresh(ctx context.Context, dirty map[string]struct{}, all bool) error {
	now := time.Now()
	k := w.r.keys.routes()
	routes := &call{script: scriptRouteView, keys: []string{k.version, k.routes}, args: []any{w.routesVersion}, n: 1}
	if err := w.r.exec(ctx, routes); err != nil {
		return err
	}
	look := map[string]struct{}{}
	if version := text(at(routes.reply, 0)); version != w.routesVersion {
		table, err := parseRoutes(texts(at(routes.reply, 1)))
		if err != nil {
			w.r.log.Error("cannot read part of the route table", "error", err)
		}
		w.routes, w.routesVersion = table, version
	}
	for name := range w.routes {
		if w.tracked[name] == nil {
			look[name] = struct{}{}
		}
	}
	if w.tracked[gatewaysEntry] == nil {
		look[gatewaysEntry] = struct{}{}
	}
	for name := range dirty {
		if wire.ValidateSlug(name) == nil || name == gatewaysEntry {
			look[name] = struct{}{}
		}
	}
	if all {
		for name := range w.tracked {
			look[name] = struct{}{}
		}
	}
	for names := range slices.Chunk(slices.Sorted(maps.Keys(look)), maxPipeline) {
		if err := w.look(ctx, names); err != nil {
			return err
		}
	}
	if gap := now.Sub(w.read); gap > w.r.cfg.LeaseTTL/3 {
		w.excuse(gap)
	}
	w.read = now
	w.publish(now)
	return nil
}

// excuse takes a gap out of the time for which members and routes are missing: while
// nothing could be read, nobody could write himself again either.
func (w *watcher) excuse(gap time.Duration) {
	for _, t := range w.tracked {
		for who, since := range t.missing {
			t.missing[who] = since.Add(gap)
		}
		if !t.gone.IsZero() {
			t.gone = t.gone.Add(gap)
		}
	}
}

// look asks Redis about services.
func (w *watcher) look(ctx context.Context, names []string) error {
	calls := make([]*call, len(names))
	for n, name := range names {
		if w.tracked[name] == nil {
			w.tracked[name] = &tracked{missing: map[member]time.Time{}}
		}
		k := w.r.keys.service(name)
		calls[n] = &call{
			script: scriptView,
			keys:   []string{k.version, k.instances, k.counts, k.leases, k.dead, k.clock},
			args:   []any{w.tracked[name].version, ms(w.r.cfg.LeaseTTL), maxSuspects}, n: 1,
		}
	}
	err := w.r.exec(ctx, calls...)
	for n, name := range names {
		c, t := calls[n], w.tracked[name]
		if c.err != nil {
			continue
		}
		for _, member := range texts(at(c.reply, 1)) {
			w.r.reaper.add(name, member, false)
		}
		t.counts = parseCounts(texts(at(c.reply, 2)))
		if len(c.reply) > 3 {
			t.version, t.members = text(c.reply[0]), parseMembers(c.reply)
			t.idle = len(t.counts) == 0 && len(texts(c.reply[4])) == 0
		}
	}
	return err
}

// publish makes the next view and tells the listeners what changed.
func (w *watcher) publish(now time.Time) {
	old := w.view.Load()
	next := &View{Version: old.Version, Services: make(map[string]*ServiceView, len(w.tracked))}
	next.Gateways = w.gateways(now)
	changed := !maps.EqualFunc(old.Gateways, next.Gateways, slices.Equal[[]string])
	for name, t := range w.tracked {
		if name == gatewaysEntry {
			continue
		}
		service, announced := w.routes[name]
		if announced {
			t.gone = time.Time{}
		} else {
			service = t.unannounced(name, now, w.r.cfg.LeaseTTL)
		}
		v := build(service, t.members, t.counts, t.view, t.missing, now, w.r.cfg.LeaseTTL)
		t.view = v
		if announced || len(v.Instances) > 0 {
			next.Services[name] = v
		} else if t.idle && len(v.Gateways) == 0 {
			delete(w.tracked, name)
		}
		changed = changed || !sameMembers(old.Services[name], next.Services[name])
	}
	for name := range old.Services {
		changed = changed || next.Services[name] == nil
	}
	if changed {
		next.Version++
	}
	w.view.Store(next)
	if !changed {
		return
	}
	w.mu.Lock()
	listeners := w.listeners
	w.mu.Unlock()
	for _, l := range listeners {
		l.f(old, next)
	}
}

// gateways returns the living gateways.
func (w *watcher) gateways(now time.Time) map[wire.Incarnation][]string {
	t := w.tracked[gatewaysEntry]
	if t == nil {
		return nil
	}
	t.view = build(Service{Name: gatewaysEntry}, t.members, nil, t.view, t.missing, now, w.r.cfg.LeaseTTL)
	all := make(map[wire.Incarnation][]string, len(t.view.Gateways))
	for g := range t.view.Gateways {
		var names []string
		if i := t.view.Instances[g.Node]; i.Incarnation == g && i.Version != "" {
			names = strings.Split(i.Version, ",")
		}
		all[g] = names
	}
	return all
}

// listen passes notifications on. It may miss some: the poll does not.
func (w *watcher) listen(ctx context.Context) {
	for backoff := firstBackoff; ctx.Err() == nil; backoff = nextBackoff(backoff) {
		subscription := w.r.cfg.Client.Subscribe(ctx, w.r.keys.events())
		stop := context.AfterFunc(ctx, func() { subscription.Close() })
		for {
			got, err := subscription.Receive(ctx)
			if err != nil {
				break
			}
			backoff = firstBackoff
			if m, ok := got.(*redis.Message); ok {
				w.touch(m.Payload)
			}
		}
		stop()
		subscription.Close()
		if wait(ctx, backoff, nil) != nil {
			return
		}
	}
}
