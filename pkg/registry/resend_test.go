package registry

import (
	"context"
	"net"
	"sync/atomic"
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
	// A wrapped connection, as redisbus makes: go-redis cannot see that it is dead
	// before it uses it.
	opts.Dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		return struct{ net.Conn }{conn}, err
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	c := newCluster(t, client)
	var failed atomic.Int64
	count := func(cfg *Config) {
		steady(cfg)
		cfg.Hooks.Call = func(script string, _ int, _ time.Duration, err error) {
			if err != nil && script == scriptBeat.name {
				failed.Add(1)
			}
		}
	}
	a, w := c.instance("a", chat, count), c.gateway("w", count)
	w.sees(t, soon, a)
	kill := time.NewTicker(testTTL / 4)
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
	if n := failed.Load(); n > 0 {
		t.Errorf("%d renewals failed", n)
	}
	if lost := w.reported(); len(lost) != 0 || a.joined(CauseDead) != 0 {
		t.Errorf("a living instance was taken for dead: %v, joined again %d times", lost, a.joined(CauseDead))
	}
}
