package push

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// routes remembers which gateways host an audience. An answer of Redis is used for
// registry.WatchTTL, or until a gateway that begins to host the audience says so.
type routes struct {
	hub *Hub

	mu      sync.Mutex
	entries map[registry.Audience]*route // guarded by mu
	sweeper *time.Timer                  // guarded by mu: nil while there are none
}

// route is one audience. It is guarded by routes.mu.
type route struct {
	version uint64    // grows with each invalidation
	looked  time.Time // when Redis was asked last
	until   time.Time
	hosts   []wire.Incarnation
	// kept are gateways that Redis did not name any more, with the time until when
	// they are asked all the same, unless they say that they have nobody: Redis may
	// have lost data that they are about to write again.
	kept    map[wire.Incarnation]time.Time
	loading chan struct{} // closed at the end of the look-up that is under way; else nil
}

// maxRoutes is how many audiences are remembered; beyond it those that are out of
// date go first.
const maxRoutes = 16384

func (c *routes) init(h *Hub) { c.hub, c.entries = h, map[registry.Audience]*route{} }

// invalidate forgets what is known of an audience. Pushes that begin later look again.
func (c *routes) invalidate(a registry.Audience) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.entries[a]; r != nil {
		r.version++
		r.until = time.Time{}
	}
}

// absent notes that a gateway has nobody of an audience.
func (c *routes) absent(a registry.Audience, g wire.Incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.entries[a]; r != nil {
		if _, ok := r.kept[g]; ok {
			delete(r.kept, g)
			r.hosts = slices.DeleteFunc(slices.Clone(r.hosts), func(have wire.Incarnation) bool { return have == g })
		}
	}
}

// hosts returns the gateways that host an audience.
func (c *routes) hosts(ctx context.Context, a registry.Audience) ([]wire.Incarnation, error) {
	for {
		c.mu.Lock()
		r := c.entries[a]
		if r == nil {
			c.makeRoom()
			r = &route{}
			c.entries[a] = r
			if c.sweeper == nil {
				c.sweeper = time.AfterFunc(c.hub.registry.WatchTTL(), c.sweep)
			}
		}
		if time.Now().Before(r.until) {
			hosts := r.hosts
			c.mu.Unlock()
			return hosts, nil
		}
		if loading := r.loading; loading != nil {
			c.mu.Unlock()
			select {
			case <-loading:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		r.loading = make(chan struct{})
		version := r.version
		c.mu.Unlock()
		hosts, ok, err := c.load(ctx, a, r, version)
		if ok || err != nil {
			return hosts, err
		}
	}
}

// load looks an audience up. ok is false if the answer was outdated when it came.
func (c *routes) load(ctx context.Context, a registry.Audience, r *route, version uint64) (hosts []wire.Incarnation, ok bool, err error) {
	start := time.Now()
	found, err := c.hub.registry.Hosts(ctx, a, true)
	c.hub.hooks.Load().Looked(time.Since(start), err)
	living := c.hub.registry.View().Gateways
	c.mu.Lock()
	defer c.mu.Unlock()
	close(r.loading)
	r.loading = nil
	if err != nil {
		return nil, false, err
	}
	if r.version != version {
		return nil, false, nil
	}
	hosts = slices.SortedFunc(maps.Keys(found), compareIncarnations)
	r.keep(found, living)
	for g := range r.kept {
		hosts = append(hosts, g)
	}
	r.hosts, r.looked, r.until = hosts, start, start.Add(c.hub.registry.WatchTTL())
	return hosts, true, nil
}

// keep notes which gateways are not named any more.
func (r *route) keep(found map[wire.Incarnation]registry.Hosting, living map[wire.Incarnation][]string) {
	now := time.Now()
	before := r.hosts
	kept := map[wire.Incarnation]time.Time{}
	for _, g := range before {
		_, named := found[g]
		_, lives := living[g]
		if named || !lives {
			continue
		}
		until, known := r.kept[g]
		if !known {
			until = now.Add(keepFor)
		}
		if now.Before(until) {
			kept[g] = until
		}
	}
	r.kept = kept
}

// keepFor is how long a gateway that Redis does not name any more is asked.
const keepFor = 10 * time.Second

// sweep forgets, from time to time, the audiences that nothing is pushed to any more.
func (c *routes) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ttl := c.hub.registry.WatchTTL()
	c.dropUnused(time.Now().Add(-ttl - keepFor))
	if len(c.entries) == 0 {
		c.entries, c.sweeper = map[registry.Audience]*route{}, nil // a map does not shrink
		return
	}
	c.sweeper.Reset(ttl)
}

// dropUnused drops the routes that were looked up last before then. mu is held.
func (c *routes) dropUnused(then time.Time) {
	maps.DeleteFunc(c.entries, func(_ registry.Audience, r *route) bool { return r.loading == nil && r.looked.Before(then) })
}

// makeRoom drops routes when there are too many. mu is held.
func (c *routes) makeRoom() {
	if len(c.entries) < maxRoutes {
		return
	}
	now := time.Now()
	for a, r := range c.entries {
		if r.loading == nil && now.After(r.until) {
			delete(c.entries, a)
		}
	}
	for a, r := range c.entries {
		if len(c.entries) < maxRoutes {
			break
		}
		if r.loading == nil {
			delete(c.entries, a)
		}
	}
}
