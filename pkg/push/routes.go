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
	loading chan struct{} // closed at the end of the look-up that is under way; else nil
}

// maxRoutes is how many audiences are remembered. When there are more, those that are
// out of date are forgotten, then others until an eighth is free.
const maxRoutes = 16384

func (c *routes) init(h *Hub) {
	c.hub, c.entries = h, map[registry.Audience]*route{}
	h.registry.OnChange(func(old, now *registry.View) {
		for g := range now.Gateways {
			if _, known := old.Gateways[g]; !known {
				c.invalidateAll()
				return
			}
		}
	})
}

// invalidateAll forgets what is known: a gateway has joined, of which Redis may have
// lacked entries when they were read.
func (c *routes) invalidateAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.entries {
		r.invalidate()
	}
}

func (r *route) invalidate() {
	r.version++
	r.until = time.Time{}
}

// invalidate forgets what is known of an audience. Pushes that begin later look again.
func (c *routes) invalidate(a registry.Audience) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.entries[a]; r != nil {
		r.invalidate()
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
	unsure := 0
	for _, h := range found {
		if h.Members == 0 {
			unsure++
		}
	}
	c.hub.hooks.Load().Looked(unsure, time.Since(start), err)
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
	r.hosts, r.looked, r.until = hosts, start, start.Add(c.hub.registry.WatchTTL())
	return hosts, true, nil
}

// sweep forgets, from time to time, the audiences that nothing is pushed to any more.
func (c *routes) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ttl := c.hub.registry.WatchTTL()
	c.dropUnused(time.Now().Add(-2 * ttl))
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
	maps.DeleteFunc(c.entries, func(_ registry.Audience, r *route) bool { return r.loading == nil && !now.Before(r.until) })
	forgot := 0
	for a, r := range c.entries {
		if len(c.entries) <= maxRoutes-maxRoutes/8 {
			break
		}
		if r.loading == nil {
			delete(c.entries, a)
			forgot++
		}
	}
	c.hub.hooks.Load().Forgot(forgot)
}
