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
)

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

// TestWaitingSendIsNotOvertaken: a small frame that would fit waits behind a large
// one, until that gives up.
func TestWaitingSendIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := twoPeers(t, link.Config{WindowBytes: 4096})
		n.Cut("a", "b")
		l := a.Mesh.To(b.Self)
		if err := l.Send(t.Context(), make([]byte, 3000), nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var large, small error
		smallDone := false
		var wg sync.WaitGroup
		wg.Go(func() { large = l.Send(ctx, make([]byte, 2000), nil) })
		synctest.Wait()
		wg.Go(func() {
			small = l.Send(t.Context(), make([]byte, 100), nil)
			smallDone = true
		})
		if synctest.Wait(); smallDone {
			t.Error("the small frame overtook")
		}
		cancel()
		if synctest.Wait(); !smallDone {
			t.Error("the small frame still waits for nothing")
		}
		wg.Wait()
		if !errors.Is(large, context.Canceled) || small != nil {
			t.Errorf("large frame: %v, small frame: %v", large, small)
		}
	})
}

// TestBusThatIsLate: frames that wait for the bus are watched by the timers from
// the moment they leave.
func TestBusThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := linktest.NewNetwork()
		late := n.Bus("a")
		a := linktest.StartPeer(t, late, node("a"), link.Config{})
		b := linktest.StartPeer(t, linktest.Start(t, n, "b"), node("b"), link.Config{})
		if err := a.Send(b.Self, 0, 0, 1, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		n.Cut("a", "b")
		go late.Run(t.Context())
		synctest.Wait()
		n.Heal()
		time.Sleep(link.DefaultMinRTO + 10*time.Millisecond)
		if b.Frames() != 1 {
			t.Error("the lost frame was not asked for")
		}
	})
}
