package link_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
	"github.com/google/go-cmp/cmp"
)

func node(id wire.NodeID) wire.Incarnation { return wire.Incarnation{Node: id, Epoch: 1} }

// twoPeers runs meshes a and b on a network.
func twoPeers(t *testing.T, cfg link.Config) (n *linktest.Network, a, b *linktest.Peer) {
	n = linktest.NewNetwork()
	a = linktest.StartPeer(t, linktest.Start(t, n, "a"), node("a"), cfg)
	b = linktest.StartPeer(t, linktest.Start(t, n, "b"), node("b"), cfg)
	return n, a, b
}

// TestFaults: running meshes on a bad network deliver everything, and what they
// do about it ends when all is delivered.
func TestFaults(t *testing.T) {
	for name, faults := range map[string]linktest.Faults{
		"drop":      {Drop: 0.3},
		"duplicate": {Duplicate: 0.5},
		"reorder":   {Reorder: 0.5},
		"delay":     {MinDelay: time.Millisecond, MaxDelay: 90 * time.Millisecond},
		"all":       {Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, MinDelay: time.Millisecond, MaxDelay: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, a, b := twoPeers(t, link.Config{WindowFrames: 64, MaxBatchBytes: 2048})
				n.SetFaults(faults)
				const flows, frames = 3, 300
				var wg sync.WaitGroup
				for id := range flows {
					for _, way := range [][2]*linktest.Peer{{a, b}, {b, a}} {
						wg.Go(func() {
							if err := way[0].Send(way[1].Self, uint32(id), 0, frames, 100); err != nil {
								t.Error(err)
							}
						})
					}
				}
				wg.Wait()
				time.Sleep(10 * time.Second) // in the bubble
				for _, p := range []*linktest.Peer{a, b} {
					if got := p.Frames(); got != flows*frames {
						t.Errorf("%v received %d frames, want %d", p.Self, got, flows*frames)
					}
					if r := p.Resets(); len(r) > 0 {
						t.Errorf("%v: resets %v", p.Self, r)
					}
				}
				for _, l := range []*link.Link{a.Mesh.To(b.Self), b.Mesh.To(a.Self)} {
					if s := l.Stats(); s.UnackedFrames != 0 || s.HeldBytes != 0 || s.FramesSent != flows*frames || s.FramesReceived != flows*frames {
						t.Errorf("%+v", s)
					}
				}
			})
		})
	}
}

// TestPartition: a break of less than ResetAfter is only a delay, a longer one
// resets both ends, after which the link works.
func TestPartition(t *testing.T) {
	for _, c := range []struct {
		lasts  time.Duration
		resets int
	}{{29 * time.Second, 0}, {31 * time.Second, 1}} {
		t.Run(c.lasts.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, a, b := twoPeers(t, link.Config{})
				n.Cut("a", "b")
				n.Cut("b", "a")
				if err := errors.Join(a.Send(b.Self, 0, 0, 10, 10), b.Send(a.Self, 0, 0, 10, 10)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.lasts)
				n.Heal()
				time.Sleep(6 * time.Second)
				for _, p := range []*linktest.Peer{a, b} {
					if r := p.Resets(); len(r) != c.resets {
						t.Errorf("%v: resets %v, want %d", p.Self, r, c.resets)
					}
				}
				if c.resets == 0 && (a.Frames() != 10 || b.Frames() != 10) {
					t.Errorf("%d and %d frames arrived, want 10 and 10", a.Frames(), b.Frames())
				}
				before := b.Frames()
				if err := a.Send(b.Self, 1, 0, 5, 10); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if got := b.Frames() - before; got != 5 {
					t.Errorf("%d frames arrived afterwards, want 5", got)
				}
			})
		})
	}
}

// TestSendBlocksInOrder: blocked Sends are served first come first served; one
// whose context ends leaves the queue; control frames do not wait.
func TestSendBlocksInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full []time.Duration
		var mu sync.Mutex
		n := linktest.NewNetwork()
		hooks := link.Hooks{WindowFull: func(d time.Duration) {
			mu.Lock()
			full = append(full, d)
			mu.Unlock()
		}}
		a := linktest.StartPeer(t, linktest.Start(t, n, "a"), node("a"), link.Config{WindowFrames: 3, Hooks: hooks})
		n.Cut("a", "b")
		b := &order{}
		bus := linktest.Start(t, n, "b")
		runMesh(t, link.Config{Self: node("b"), Bus: bus, Handler: b})

		l := a.Mesh.To(node("b"))
		send := func(ctx context.Context, s string) error { return l.Send(ctx, []byte(s[:1]), []byte(s[1:])) }
		for i := range 3 {
			if err := send(t.Context(), fmt.Sprint("frame ", i)); err != nil {
				t.Fatal(err)
			}
		}
		errs := make([]error, 10)
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for i := 3; i < 10; i++ {
			wg.Go(func() {
				c := t.Context()
				if i == 4 || i == 9 {
					c = ctx
				}
				errs[i] = send(c, fmt.Sprint("frame ", i))
			})
			synctest.Wait()
		}
		if err := l.SendControl([]byte("control")); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Waiting != 7 || s.UnackedFrames != 4 {
			t.Errorf("%d Sends wait and %d frames are unacknowledged, want 7 and 4", s.Waiting, s.UnackedFrames)
		}
		time.Sleep(time.Second)
		gone := errors.New("the client is gone")
		cancel(gone)
		synctest.Wait()
		n.Heal()
		wg.Wait()
		time.Sleep(time.Second)
		if want := "frame 0|frame 1|frame 2|control|frame 3|frame 5|frame 6|frame 7|frame 8"; b.String() != want {
			t.Errorf("received %s\nwant     %s", b, want)
		}
		for i, err := range errs {
			if want := map[bool]error{true: gone}[i == 4 || i == 9]; !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("frame %d: %v, want %v", i, err, want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(full) != 7 || full[0] < time.Second {
			t.Errorf("the window was reported full for %v, want 7 times a second or more", full)
		}
	})
}

// order records frames as text.
type order struct {
	mu     sync.Mutex
	frames []string
}

func (o *order) Frame(_ wire.Incarnation, frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames = append(o.frames, string(frame))
}
func (o *order) Reset(wire.Incarnation, link.Reset) {}
func (o *order) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.frames, "|")
}

// runMesh runs a mesh until the test ends or stop is called.
func runMesh(t *testing.T, cfg link.Config) (m *link.Mesh, stop func()) {
	t.Helper()
	m, err := link.NewMesh(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	<-m.Subscribed()
	return m, stop
}

// TestResetEndsBlockedSends: a blocked Send does not outlive the generation.
func TestResetEndsBlockedSends(t *testing.T) {
	for name, reset := range map[string]func(m *link.Mesh){
		"timeout": func(*link.Mesh) { time.Sleep(31 * time.Second) },
		"forget":  func(m *link.Mesh) { m.Forget(node("b")) },
		"later":   func(m *link.Mesh) { m.To(wire.Incarnation{Node: "b", Epoch: 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, a, b := twoPeers(t, link.Config{WindowFrames: 1})
				n.Cut("a", "b")
				if err := a.Send(b.Self, 0, 0, 1, 1); err != nil {
					t.Fatal(err)
				}
				var err error
				var wg sync.WaitGroup
				wg.Go(func() { err = a.Send(b.Self, 0, 1, 1, 1) })
				synctest.Wait()
				reset(a.Mesh)
				wg.Wait()
				if !errors.Is(err, link.ErrReset) {
					t.Errorf("the blocked Send returned %v, want ErrReset", err)
				}
				time.Sleep(10 * time.Millisecond) // timers are that coarse
				if r := a.Resets(); len(r) != 1 {
					t.Errorf("resets %v, want 1", r)
				}
			})
		})
	}
}

// TestStop: when Run has ended, nothing blocks any more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := twoPeers(t, link.Config{WindowFrames: 1})
		n.Cut("a", "b")
		if err := a.Send(b.Self, 0, 0, 1, 1); err != nil {
			t.Fatal(err)
		}
		var sendErr, flushErr error
		var wg sync.WaitGroup
		wg.Go(func() { sendErr = a.Send(b.Self, 0, 1, 1, 1) })
		wg.Go(func() { flushErr = a.Mesh.Flush(t.Context()) })
		synctest.Wait()
		a.Stop()
		wg.Wait()
		for what, err := range map[string]error{
			"blocked Send":  sendErr,
			"blocked Flush": flushErr,
			"later Send":    a.Mesh.To(b.Self).SendControl(nil),
			"new link":      a.Mesh.To(node("c")).SendControl(nil),
			"loopback":      a.Mesh.To(a.Self).SendControl(nil),
		} {
			if !errors.Is(err, link.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", what, err)
			}
		}
		if err := a.Mesh.Run(t.Context()); err == nil {
			t.Error("Run can be called again")
		}
	})
}

// TestFlush returns when all is acknowledged, without waiting for delayed
// acknowledgements, and counts frames that a reset lost as done.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := twoPeers(t, link.Config{MaxBatchBytes: 1024})
		start := time.Now()
		for round := range 3 {
			if err := errors.Join(a.Send(b.Self, 0, 100*round, 100, 100), a.Send(a.Self, 0, 100*round, 100, 100)); err != nil {
				t.Fatal(err)
			}
			if err := a.Mesh.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := a.Mesh.To(b.Self).Stats().UnackedFrames; got != 0 {
				t.Fatalf("%d frames are unacknowledged after Flush", got)
			}
			if a.Frames() != 100*(round+1) || b.Frames() != 100*(round+1) {
				t.Fatalf("%d and %d frames arrived before Flush returned", a.Frames(), b.Frames())
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("Flush waited %v for timers", took)
		}
		n.Cut("a", "b")
		if err := a.Send(b.Self, 0, 300, 1, 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Mesh.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush of a cut link: %v", err)
		}
		if err := a.Mesh.Flush(t.Context()); err != nil || len(a.Resets()) != 1 {
			t.Errorf("Flush across a reset: %v, resets %v", err, a.Resets())
		}
	})
}

// TestLoopback: frames to oneself keep order, respect the window and skip the bus.
func TestLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := linktest.NewNetwork()
		gate := &gated{open: make(chan struct{})}
		m, stop := runMesh(t, link.Config{Self: node("a"), Bus: n.Bus("a"), Handler: gate, WindowFrames: 10}) // the bus does not run
		l := m.To(m.To(node("a")).Peer())
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 100 {
				if err := l.Send(t.Context(), []byte{byte(i)}, nil); err != nil {
					t.Error(err)
				}
			}
		})
		synctest.Wait()
		if s := l.Stats(); s.UnackedFrames != 10 || s.Waiting != 1 {
			t.Errorf("%d frames and %d Sends wait for the handler, want 10 and 1", s.UnackedFrames, s.Waiting)
		}
		close(gate.open)
		wg.Wait()
		synctest.Wait()
		for i, frame := range gate.frames {
			if frame[0] != byte(i) {
				t.Fatalf("frame %d is %d", i, frame[0])
			}
		}
		if s := l.Stats(); len(gate.frames) != 100 || s.FramesReceived != 100 || s.FramesSent != 100 || s.UnackedFrames != 0 {
			t.Errorf("%d frames: %+v", len(gate.frames), s)
		}
		m.Forget(node("a")) // makes no sense, and does nothing
		if err := l.SendControl([]byte("x")); err != nil {
			t.Error(err)
		}
		stop()
	})
}

// gated is a handler that blocks, which real ones must not, until open is closed.
type gated struct {
	open   chan struct{}
	frames [][]byte
}

func (g *gated) Frame(_ wire.Incarnation, frame []byte) {
	<-g.open
	g.frames = append(g.frames, frame)
}
func (g *gated) Reset(wire.Incarnation, link.Reset) {}

func TestFrameSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := twoPeers(t, link.Config{})
		l, largest := a.Mesh.To(b.Self), a.Mesh.MaxFrame()
		if largest < link.DefaultWindowBytes-8 {
			t.Errorf("MaxFrame is %d", largest)
		}
		head := make([]byte, 12)
		if err := l.Send(t.Context(), head, make([]byte, largest-12)); err != nil {
			t.Errorf("the largest frame: %v", err)
		}
		if err := l.Send(t.Context(), head, make([]byte, largest-11)); !errors.Is(err, link.ErrTooBig) {
			t.Errorf("a larger frame: %v, want ErrTooBig", err)
		}
		if err := l.SendControl(make([]byte, largest+1)); !errors.Is(err, link.ErrTooBig) {
			t.Errorf("a larger control frame: %v, want ErrTooBig", err)
		}
		time.Sleep(time.Second)
		if b.Frames() != 1 {
			t.Errorf("%d frames arrived, want 1", b.Frames())
		}
	})
}

// TestHooks: every hook is called with the numbers that the statistics have.
func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := map[string]int{}
		add := func(name string, n int) {
			mu.Lock()
			defer mu.Unlock()
			got[name] += n
		}
		hooks := link.Hooks{
			Sent:          func(frames, bytes int) { add("sent", frames); add("sent bytes", bytes) },
			Received:      func(frames, bytes int) { add("received", frames); add("received bytes", bytes) },
			Retransmitted: func(frames, _ int) { add("retransmitted", frames) },
			Duplicate:     func(frames int) { add("duplicate", frames) },
			Gap:           func(frames int) { add("gap", frames) },
			Probed:        func() { add("probed", 1) },
			Rejected:      func(r link.Rejection) { add("rejected "+string(r), 1) },
			RTT:           func(d time.Duration) { add("rtt ms", int(d.Milliseconds())) },
			Reset:         func(c link.Cause) { add("reset "+c.String(), 1) },
		}
		n, a, b := twoPeers(t, link.Config{Hooks: hooks})
		send := func(i int) {
			if err := a.Send(b.Self, 0, i, 1, 100); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		n.SetFaults(linktest.Faults{MinDelay: 5 * time.Millisecond, MaxDelay: 5 * time.Millisecond})
		send(0)
		time.Sleep(time.Second)
		n.Cut("a", "b")
		send(1)
		send(2)
		n.Heal()
		send(3)
		time.Sleep(time.Second)
		n.SetFaults(linktest.Faults{Duplicate: 1})
		send(4)
		a.Mesh.Forget(b.Self)
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := map[string]int{
			"sent": 5, "sent bytes": 5 * 113, "received": 5, "received bytes": 5 * 113,
			"gap": 2, "retransmitted": 2, "duplicate": 1, "rtt ms": 10,
			"probed": 1, "reset forgotten": 1, "reset peer": 1,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	_, err := link.NewMesh(link.Config{Self: wire.Incarnation{Node: "No Slug"}, WindowFrames: -1, MinRTO: time.Second, MaxRTO: time.Millisecond})
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, problem := range []string{"Self.Node", "Self.Epoch", "Bus", "Handler", "WindowFrames", "MaxRTO"} {
		if !strings.Contains(err.Error(), "link.Config."+problem) {
			t.Errorf("%s is not named in: %v", problem, err)
		}
	}
}
