package link_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
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
			if round == 2 {
				synctest.Wait() // all has left already
			}
			if err := a.Mesh.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := a.Mesh.To(b.Self).Stats().UnackedFrames; got != 0 {
				t.Fatalf("%d frames are unacknowledged after Flush", got)
			}
			synctest.Wait() // the handlers may still be taking what has arrived
			if a.Frames() != 100*(round+1) || b.Frames() != 100*(round+1) {
				t.Fatalf("%d and %d frames arrived", a.Frames(), b.Frames())
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
		if err := a.Mesh.Flush(t.Context()); err != nil {
			t.Errorf("Flush across a reset: %v", err)
		}
		if synctest.Wait(); len(a.Resets()) != 1 {
			t.Errorf("resets %v, want 1", a.Resets())
		}
	})
}
