package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var drained = wire.Close{Status: wire.CloseRestart, Reason: "drain", Source: wire.SourceServer, Finish: true}

// TestDrain checks the order of events: no new clients, answers in flight arrive,
// then 1012, nothing stays pinned, and Run returns.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	left := make(chan int, 10)
	gw := w.gateway(Config{DrainWindow: -1, Hooks: Hooks{Draining: func(n int) { left <- n }}})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	a.slow = true
	gw.routed("/a")
	c, idle := gw.dial(), gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	receive(w, "data", s.data)

	result := make(chan error, 1)
	go func() { result <- gw.Drain(w.context()) }()
	s.wantClosed(drained)
	idle.wantClose(wire.CloseRestart, "drain")
	if gw.Ready() == nil {
		t.Error("a draining gateway is ready")
	}
	_, resp := gw.try(nil)
	gw.wantRefused(resp, http.StatusServiceUnavailable, RefuseDraining)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("a 503 has no Retry-After")
	}

	c.put(message("/a", "2", "too late"))
	go func() { // more than a window: credit still flows
		if !s.sendAll(message("", "1", strings.Repeat("x", 2000)), 300, DefaultReplyWindow) {
			t.Error("the instance gets no credit while it finishes")
		}
		s.gone()
	}()
	if before := c.wantClose(wire.CloseRestart, "drain"); len(before) != 300 {
		t.Errorf("%d of 300 answers arrived", len(before))
	}
	if err := receive(w, "Drain", result); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := receive(w, "Run", gw.ended); err != nil {
		t.Errorf("Run: %v", err)
	}
	if len(s.data) != 0 {
		t.Error("a message that came after the end was delivered")
	}
	if n := receive(w, "the hook", left) + receive(w, "the hook", left); n != 1 {
		t.Errorf("the hook was told a sum of %d; want 1 and 0", n)
	}
	w.eventually("the pin is gone", func() bool {
		for _, i := range a.bp.Registry().View().Services["a"].Instances {
			if i.Pins > 0 {
				return false
			}
		}
		return true
	})
}

// TestDrainSpreads checks that sockets work until their time comes, and that they
// are closed over the window: in one of three tries, since a machine that stands still
// makes those of which the time has come meanwhile end together.
func TestDrainSpreads(t *testing.T) {
	const window, tries = time.Second, 3
	for range tries {
		times := drainTimes(t, window)
		if first, last := times[0], times[len(times)-1]; last-first >= window/2 {
			return
		}
		t.Logf("clients were closed at %v", times)
	}
	t.Errorf("the clients were not closed over the window of %v in any try", window)
}

// drainTimes drains a gateway and returns when its clients were closed.
func drainTimes(t *testing.T, window time.Duration) (times []time.Duration) {
	t.Helper()
	w := newWorld(t)
	gw := w.gateway(Config{DrainWindow: window})
	w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	const n = 10
	closed := make(chan time.Duration, n)
	var clients []*wsClient
	for range n {
		clients = append(clients, gw.dial())
	}
	w.eventually("the gateway has all clients", func() bool { return gw.SocketCount() == n })
	begin := time.Now()
	for _, c := range clients {
		go func() {
			for {
				if err := c.WriteMessage(1, []byte(message("/a", "1", "x"))); err != nil {
					break
				}
				if _, _, err := c.ReadMessage(); err != nil {
					break
				}
			}
			closed <- time.Since(begin)
		}()
	}
	if err := gw.Drain(w.context()); err != nil {
		t.Fatal(err)
	}
	for range n {
		times = append(times, receive(w, "close", closed))
	}
	return times
}

// TestDrainTimeout checks that Drain does not wait for a service beyond its context.
func TestDrainTimeout(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{DrainWindow: -1, CloseTimeout: 100 * time.Millisecond})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	a.slow = true
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	ctx, cancel := context.WithCancel(w.context())
	result := make(chan error, 1)
	go func() { result <- gw.Drain(ctx) }()
	s.wantClosed(drained)
	cancel()
	s.wantClosed(wire.Close{Status: wire.CloseRestart, Reason: "drain", Source: wire.SourceServer})
	c.wantClose(wire.CloseRestart, "drain")
	if err := receive(w, "Drain", result); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	if err := receive(w, "Run", gw.ended); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestDrainTellsOfLosses: the log says how a drain went, and that an instance did not
// confirm the end of a socket.
func TestDrainTellsOfLosses(t *testing.T) {
	for _, test := range []struct {
		name     string
		handback time.Duration
		want     string
	}{
		{"complete", time.Minute, `level=INFO msg="the drain is over"`},
		{"an instance was lost", 100 * time.Millisecond, `level=WARN msg="the drain is over, but instances were lost meanwhile`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			var log strings.Builder // read after the gateway has ended
			gw := w.gateway(Config{
				DrainWindow: -1, HandbackTimeout: test.handback,
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
			a.slow = true
			gw.routed("/a")
			c := gw.dial()
			c.put(message("/a", "1", "x"))
			s := receive(w, "open", a.opened)
			receive(w, "data", s.data)
			result := make(chan error, 1)
			go func() { result <- gw.Drain(w.context()) }()
			s.wantClosed(drained)
			if test.handback == time.Minute {
				s.gone()
			}
			if err := receive(w, "Drain", result); err != nil {
				t.Fatal(err)
			}
			c.wantClose(wire.CloseRestart, "drain")
			if err := receive(w, "Run", gw.ended); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("the log lacks %s:\n%s", test.want, log.String())
			}
		})
	}
}

// TestStopWithoutDrain checks that everything is closed at once.
func TestStopWithoutDrain(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{CloseTimeout: time.Minute})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	stuck := gw.dial() // reads nothing, answers nothing
	_ = stuck
	gw.stop()
	c.wantClose(wire.CloseGoingAway, "shutdown")
	s.wantClosed(wire.Close{Status: wire.CloseGoingAway, Reason: "shutdown", Source: wire.SourceServer})
	if err := receive(w, "Run", gw.ended); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestBackplaneEnds checks that a gateway does not outlive its backplane.
func TestBackplaneEnds(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	c := gw.dial()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = gw.bp.Close(ctx)
	c.wantClose(wire.CloseGoingAway, "shutdown")
	if err := receive(w, "Run", gw.ended); err == nil {
		t.Error("Run returned nil though its backplane ended")
	}
}
