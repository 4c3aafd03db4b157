package push

import (
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
