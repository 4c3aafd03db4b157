package backplane

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestOpenReportsWhatIsWrong(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Password: "right-one"})
	dead := redistest.Start(t, redistest.Config{Password: "right-one"})
	must(t, dead.Kill())
	noPublish := redistest.Start(t, redistest.Config{Password: "right-one"})
	must(t, noPublish.Client().Do(t.Context(), "acl", "setuser", "reader", "on", ">right-one", "~*", "&*", "+@all", "-publish").Err())
	for _, tc := range []struct {
		name, url string
		cfg       Config
		want      []string
	}{
		{"url", "http://x", Config{}, []string{"redis URL", "redis://"}},
		{"names", srv.URL(), Config{Namespace: "Not/Good", NodeID: "Bad"}, []string{"Config.Namespace", "Config.NodeID"}},
		{"bus", srv.URL(), Config{LeaseTTL: -1}, []string{"LeaseTTL"}},
		{"password", strings.Replace(srv.URL(), "right", "wrong", 1), Config{}, []string{"refuses access", "xxxxx@"}},
		{"dead", dead.URL(), Config{}, []string{"cannot be reached", "xxxxx@", "connection refused", "deadline"}},
		{"permission", strings.Replace(noPublish.URL(), ":right", "reader:right", 1), Config{}, []string{"PUBLISH", "xxxxx@", "deadline"}},
	} {
		within := 20 * time.Second // these fail at once
		switch tc.name {
		case "dead": // one attempt, and more, end before
			within = 5 * time.Second
		case "permission":
			within = 10 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		b, err := Open(ctx, tc.url, tc.cfg)
		cancel()
		if err == nil {
			t.Errorf("%s: opened", tc.name)
			must(t, b.Close(t.Context()))
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "-one") {
				t.Errorf("%s: got %v\nwant it to contain %q", tc.name, err, want)
			}
		}
	}
}

func TestOpenWaitsForRedis(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	must(t, srv.Kill())
	restarted := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() { restarted <- srv.Restart() })
	var cfg Config
	cfg.Bus.SilenceLimit = time.Minute // a stall of the machine is no outage
	b := open(t, srv.URL(), cfg)
	must(t, <-restarted)
	if !b.Healthy() || b.Ready() != nil {
		t.Errorf("not ready after Open: %v", b.Ready())
	}
	if b.Self().Node == "" || b.Self().Epoch == 0 || !strings.HasPrefix(b.String(), "unix://") {
		t.Errorf("self %v at %v", b.Self(), b)
	}
}

func TestCloseDeliversWhatWasSent(t *testing.T) {
	_, g, s := pair(t)
	_, out, in := connect(t, g, s, serve(t, s, "chat"), "chat")
	const messages = 2000
	for range messages {
		must(t, out.SendData(t.Context(), wire.Text, "", make([]byte, 100)))
	}
	must(t, g.Close(t.Context()))
	// All have reached the other node; its handler may still be taking the last.
	if n := len(in.await(t, messages)); n != messages {
		t.Errorf("%d messages arrived, want %d", n, messages)
	}
	select {
	case <-g.Done():
	default:
		t.Error("Done is open after Close")
	}
	if err := g.Err(); err != nil {
		t.Errorf("Err after Close: %v", err)
	}
	if g.Healthy() || g.Ready() == nil {
		t.Error("ready after Close")
	}
	if err := out.SendData(t.Context(), wire.Text, "", nil); err == nil {
		t.Error("a closed backplane took a message")
	}
	must(t, g.Close(t.Context()))
}

func TestCloseWithoutRedis(t *testing.T) {
	srv, g, s := pair(t)
	_, out, _ := connect(t, g, s, serve(t, s, "chat"), "chat")
	must(t, srv.Stop())
	must(t, out.SendData(t.Context(), wire.Text, "", []byte("lost")))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that not everything was acknowledged", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %v while Redis hangs", took)
	}
	must(t, srv.Cont())
}

func TestReadyFollowsRedis(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Password: "s3cret"})
	cfg := quick(t)
	cfg.Bus.PingEvery, cfg.Bus.CanaryEvery = 50*time.Millisecond, 20*time.Millisecond
	cfg.Bus.SilenceLimit = 250 * time.Millisecond
	b := open(t, srv.URL(), cfg)
	for range 2 {
		eventually(t, "ready", b.Healthy)
		must(t, srv.Kill())
		eventually(t, "not ready", func() bool { return !b.Healthy() })
		if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "unix://:xxxxx@") {
			t.Errorf("got %v, want it to name Redis", err)
		}
		must(t, srv.Restart())
	}
	eventually(t, "ready", b.Healthy)
}

func TestEndsByItself(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	var closed atomic.Int64
	cfg := quick(t)
	cfg.Hooks.Closed = func() { closed.Add(1) }
	ctx, stop := context.WithCancel(t.Context())
	b, err := newBackplane(ctx, srv.URL(), cfg)
	must(t, err)
	b.stop = stop
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, b.registry.Run(ended)) // so that it fails when it is run again
	b.run(ctx)
	select {
	case <-b.Done():
	default:
		t.Error("Done is open")
	}
	if b.Err() == nil || closed.Load() != 1 {
		t.Errorf("err %v, closed %d times; want a reason and 1", b.Err(), closed.Load())
	}
	if err := b.Close(t.Context()); !errors.Is(err, b.Err()) {
		t.Errorf("Close: got %v, want %v", err, b.Err())
	}
}
