package link_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

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
		var flushed bool
		wg.Go(func() {
			if err := m.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			flushed = true
		})
		if synctest.Wait(); flushed {
			t.Error("Flush did not wait for the handler")
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
		synctest.Wait() // for the first Gap
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
