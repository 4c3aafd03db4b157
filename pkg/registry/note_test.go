package registry

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestSwapNote: a note changes only from what the caller expects, is there for every
// node, and expires.
func TestSwapNote(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		s := newSingle(t, client)
		one, two := s.node(inc("g", 1), Hooks{}), s.node(inc("g", 2), Hooks{})
		for _, step := range []struct {
			by             *Registry
			old, new, want string
		}{
			{one, "", "", ""},
			{one, "", "a", "a"},
			{one, "", "a", "a"}, // again: its answer may have been lost
			{two, "", "b", "a"},
			{two, "b", "c", "a"},
			{two, "a", "\x00\xff", "\x00\xff"},
			{one, "a", "", "\x00\xff"},
			{one, "\x00\xff", "", ""},
			{two, "\x00\xff", "", ""},
			{two, "", "d", "d"},
		} {
			now, err := step.by.SwapNote(t.Context(), "name", step.old, step.new, time.Hour)
			if err != nil || now != step.want {
				t.Fatalf("from %q to %q: %q, %v; want %q", step.old, step.new, now, err, step.want)
			}
		}
		if now, err := one.SwapNote(t.Context(), "other", "", "e", time.Hour); err != nil || now != "e" {
			t.Errorf("another name: %q, %v", now, err)
		}
		ttl, err := client.PTTL(t.Context(), one.keys.note("name")).Result()
		if err != nil || ttl <= 0 || ttl > time.Hour {
			t.Errorf("it is kept for %v, %v", ttl, err)
		}
	})
}
