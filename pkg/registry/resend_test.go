package registry

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// TestBrokenConnections closes the registry's connections more often than it renews
// its leases: every renewal finds a dead connection first, and goes through all the
// same.
func TestBrokenConnections(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{TCP: true})
	opts, err := redis.ParseURL(srv.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries = -1
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	c := newCluster(t, client)
	a, w := c.instance("a", chat), c.gateway("w")
	w.sees(t, soon, a)
	kill := time.NewTicker(testTTL / 20)
	defer kill.Stop()
	end := time.After(3 * testTTL)
	for {
		select {
		case <-kill.C:
			if err := srv.Client().ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
				t.Fatal(err)
			}
			continue
		case <-end:
		}
		break
	}
	if lost := w.reported(); len(lost) != 0 || a.joined(CauseDead) != 0 {
		t.Errorf("a living instance was taken for dead: %v, joined again %d times", lost, a.joined(CauseDead))
	}
}
