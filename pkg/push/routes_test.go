package push

import (
	"fmt"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
)

// TestUnusedRoutesAreDropped: those that were looked up long ago, or never with success,
// but none that somebody waits for.
func TestUnusedRoutesAreDropped(t *testing.T) {
	now := time.Now()
	group := func(name string) registry.Audience { return audienceOf(roomKey{name: name}) }
	c := routes{entries: map[registry.Audience]*route{
		group("used"):    {looked: now, until: now.Add(time.Second)},
		group("asked"):   {looked: now}, // and outdated since
		group("unused"):  {looked: now.Add(-time.Minute)},
		group("failed"):  {},
		group("loading"): {loading: make(chan struct{})},
	}}
	c.dropUnused(now.Add(-time.Second))
	for name, want := range map[string]bool{"used": true, "asked": true, "loading": true, "unused": false, "failed": false} {
		if _, ok := c.entries[group(name)]; ok != want {
			t.Errorf("%s: remembered %v, want %v", name, ok, want)
		}
	}
}

// TestTooManyRoutes: those that are out of date go first, others until an eighth is free,
// so that the next audiences find room, but none that somebody waits for.
func TestTooManyRoutes(t *testing.T) {
	now := time.Now()
	forgot := 0
	hub := &Hub{}
	hub.Observe(Hooks{Forgot: func(lookups int) { forgot += lookups }})
	c := routes{hub: hub, entries: map[registry.Audience]*route{}}
	fill := func(n int, r func() *route) {
		for range n {
			c.entries[registry.Audience(fmt.Sprint("g.", len(c.entries)))] = r()
		}
	}
	const old, loading = 100, 50
	fill(old, func() *route { return &route{until: now.Add(-time.Second)} })
	fill(loading, func() *route { return &route{loading: make(chan struct{})} })
	fill(maxRoutes-old-loading-1, func() *route { return &route{until: now.Add(time.Hour)} })
	if c.makeRoom(); len(c.entries) != maxRoutes-1 || forgot != 0 {
		t.Fatalf("%d are remembered and %d were forgotten below the limit", len(c.entries), forgot)
	}
	fill(1, func() *route { return &route{until: now.Add(time.Hour)} })
	c.makeRoom()
	if want := maxRoutes - maxRoutes/8; len(c.entries) != want || forgot != maxRoutes-old-want {
		t.Errorf("%d are remembered, want %d; %d were forgotten before their time", len(c.entries), want, forgot)
	}
	waited := 0
	for _, r := range c.entries {
		if r.loading != nil {
			waited++
		}
	}
	if waited != loading {
		t.Errorf("%d of %d that somebody waits for are left", waited, loading)
	}
}
