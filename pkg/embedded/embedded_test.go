package embedded_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

// echo answers each Data frame with a copy of it.
type echo struct{ stream *backplane.Stream }

func (e *echo) Frame(kind wire.Kind, body []byte) {
	if d, err := wire.ParseData(body); kind == wire.KindData && err == nil {
		_ = e.stream.SendData(context.Background(), d.Type, d.ID, d.Payload)
	}
}
func (e *echo) Reset(link.Reset) {}

// count counts frames.
type count struct{ n atomic.Int64 }

func (c *count) Frame(wire.Kind, []byte) { c.n.Add(1) }
func (c *count) Reset(link.Reset)        {}

// talk makes s an instance, g a gateway, and sends messages between them.
func talk(t *testing.T, g, s *backplane.Backplane) {
	t.Helper()
	ctx := t.Context()
	stop, err := s.Serve("chat", func(s *backplane.Stream, _ wire.Open) backplane.StreamHandler { return &echo{s} })
	must(t, err)
	defer stop()
	must(t, s.Registry().Announce(ctx, registry.Service{Name: "chat", Routes: []registry.Route{{Pattern: "/a", Canonical: "/a"}}}))
	must(t, g.Registry().JoinGateway(ctx, "public"))
	eventually(t, "the service is known", func() bool { return g.Registry().View().Has(s.Self()) })
	to, err := g.Registry().Pin(ctx, "chat", "socket")
	must(t, err)
	if to != s.Self() {
		t.Fatalf("pinned to %v, want %v", to, s.Self())
	}
	got := new(count)
	out := g.OpenStream(to, got)
	must(t, out.SendOpen(ctx, wire.Open{Service: "chat", Socket: "socket"}))
	for range 1000 {
		must(t, out.SendData(ctx, wire.Text, "", make([]byte, 500)))
	}
	eventually(t, "all echoes came", func() bool { return got.n.Load() == 1000 })
	must(t, g.Registry().LeaveGateway(ctx, "public"))
	must(t, s.Registry().Withdraw(ctx, "chat"))
}

func TestOneBackplane(t *testing.T) {
	var closed atomic.Int64
	cfg := backplane.Config{NodeID: "dev"}
	cfg.Hooks.Closed = func() { closed.Add(1) }
	bp, err := embedded.Open(t.Context(), cfg)
	must(t, err)
	if bp.Self().Node != "dev" {
		t.Errorf("the configuration was not used: %v", bp.Self())
	}
	talk(t, bp, bp)
	must(t, bp.Close(t.Context()))
	if closed.Load() != 1 {
		t.Errorf("the caller's Closed hook ran %d times", closed.Load())
	}
	if err := client(t, bp.String()).Ping(t.Context()).Err(); err == nil {
		t.Error("the server still runs after Close")
	}
}

func TestSeveralBackplanes(t *testing.T) {
	srv, err := embedded.StartServer()
	must(t, err)
	defer srv.Close()
	var nodes []*backplane.Backplane
	for range 3 {
		bp, err := backplane.Open(t.Context(), srv.URL(), backplane.Config{})
		must(t, err)
		nodes = append(nodes, bp)
	}
	talk(t, nodes[0], nodes[1])
	talk(t, nodes[2], nodes[0])
	for _, bp := range nodes {
		must(t, bp.Close(t.Context()))
	}
}

func TestKeysExpire(t *testing.T) {
	srv, err := embedded.StartServer()
	must(t, err)
	defer srv.Close()
	c := client(t, srv.URL())
	must(t, c.Set(t.Context(), "kept", "x", time.Hour).Err())
	must(t, c.Set(t.Context(), "ticket", "x", 50*time.Millisecond).Err())
	eventually(t, "the key expired", func() bool { return c.Exists(t.Context(), "ticket").Val() == 0 })
	if n := c.Exists(t.Context(), "kept").Val(); n != 1 {
		t.Error("the other key is not there")
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := embedded.Open(t.Context(), backplane.Config{NodeID: "Not A Slug"}); err == nil {
		t.Error("a bad configuration was accepted")
	}
	if _, err := embedded.Open(t.Context(), backplane.Config{}, backplane.Config{}); err == nil {
		t.Error("two configurations were accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := embedded.Open(ctx); err == nil {
		t.Error("opened although the context had ended")
	}
}

func client(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	top, err := redisbus.ParseURL(url)
	must(t, err)
	c := top.NewClient(context.Background())
	t.Cleanup(func() { _ = c.Close() })
	return c
}
