package linktest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Peer is a running mesh that records what arrives.
type Peer struct {
	Mesh *link.Mesh
	Self wire.Incarnation
	t    testing.TB
	stop func()

	mu      sync.Mutex
	next    map[flow]uint64 // number of the next frame by flow
	frames  int
	resets  []link.Reset
	changed chan struct{}
}

// flow is what one sending goroutine sends to one peer.
type flow struct {
	from wire.Incarnation
	id   uint32
}

// StartPeer runs a mesh on a bus until the test ends. cfg may leave Self, Bus and
// Handler empty.
func StartPeer(t testing.TB, b link.Bus, self wire.Incarnation, cfg link.Config) *Peer {
	t.Helper()
	p := &Peer{t: t, Self: self, next: map[flow]uint64{}, changed: make(chan struct{}, 1)}
	cfg.Self, cfg.Bus, cfg.Handler = self, b, p
	m, err := link.NewMesh(cfg)
	if err != nil {
		t.Fatalf("NewMesh: %v", err)
	}
	p.Mesh = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(p.stop)
	<-m.Subscribed()
	return p
}

// Stop ends the mesh as a crash would: without a word to its peers.
func (p *Peer) Stop() { p.stop() }

// Frame checks that the frame is the next of its flow.
func (p *Peer) Frame(from wire.Incarnation, frame []byte) {
	p.mu.Lock()
	f := flow{from, binary.BigEndian.Uint32(frame)}
	if n := binary.BigEndian.Uint64(frame[4:]); n != p.next[f] {
		p.t.Errorf("%v: frame %d of flow %d from %v came, %d was due", p.Self, n, f.id, from, p.next[f])
	}
	p.next[f]++
	p.frames++
	p.mu.Unlock()
	signal(p.changed)
}

// Reset records the reset, and lets the peer's flows start anew.
func (p *Peer) Reset(peer wire.Incarnation, r link.Reset) {
	p.mu.Lock()
	p.resets = append(p.resets, r)
	for f := range p.next {
		if f.from == peer {
			delete(p.next, f)
		}
	}
	p.mu.Unlock()
	signal(p.changed)
}

// Resets returns the resets so far.
func (p *Peer) Resets() []link.Reset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]link.Reset(nil), p.resets...)
}

// Frames returns the number of frames so far.
func (p *Peer) Frames() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames
}

// Send sends frames number first to first+n-1 of a flow.
func (p *Peer) Send(to wire.Incarnation, id uint32, first, n, size int) error {
	l := p.Mesh.To(to)
	head := make([]byte, 12)
	binary.BigEndian.PutUint32(head, id)
	payload := make([]byte, size)
	for i := first; i < first+n; i++ {
		binary.BigEndian.PutUint64(head[4:], uint64(i))
		if err := l.Send(context.Background(), head, payload); err != nil {
			return fmt.Errorf("frame %d of flow %d from %v to %v: %w", i, id, p.Self, to, err)
		}
	}
	return nil
}

// Wait blocks until ok holds, which is asked again after each frame and reset.
func (p *Peer) Wait(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-p.changed:
		case <-deadline:
			p.t.Fatalf("%v: after %v: no %s (%d frames, resets %v)", p.Self, patience, what, p.Frames(), p.Resets())
		}
	}
}

func (h Harness) peer(t *testing.T, name string, cfg link.Config) *Peer {
	return StartPeer(t, h.New(t), wire.Incarnation{Node: newNode(name), Epoch: 1}, cfg)
}

// exchange has several goroutines of every peer send to every peer, itself
// included, and waits until all has arrived.
func exchange(t *testing.T, peers []*Peer, flows, frames, size int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, from := range peers {
		for _, to := range peers {
			for id := range flows {
				wg.Go(func() {
					if err := from.Send(to.Self, uint32(id), 0, frames, size); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	wg.Wait()
	for _, p := range peers {
		want := len(peers) * flows * frames
		p.Wait(fmt.Sprintf("%d frames", want), func() bool { return p.Frames() >= want })
		if r := p.Resets(); len(r) > 0 {
			t.Errorf("%v: resets %v", p.Self, r)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, p := range peers {
		if err := p.Mesh.Flush(ctx); err != nil {
			t.Errorf("%v: Flush: %v", p.Self, err)
		}
	}
}

// testMeshExchange: frames between three nodes arrive once and in order.
func (h Harness) testMeshExchange(t *testing.T) {
	peers := []*Peer{h.peer(t, "a", link.Config{}), h.peer(t, "b", link.Config{}), h.peer(t, "c", link.Config{})}
	exchange(t, peers, 4, 1000, 100)
}

// testMeshBackpressure: tiny windows and frames of their size get through.
func (h Harness) testMeshBackpressure(t *testing.T) {
	cfg := link.Config{WindowFrames: 4, WindowBytes: 8 << 10}
	peers := []*Peer{h.peer(t, "a", cfg), h.peer(t, "b", cfg)}
	exchange(t, peers, 3, 100, 3000)
}

// testMeshRestart: a node that starts again is met as a new incarnation, and the
// link to the old one is reset without waiting for a timeout.
func (h Harness) testMeshRestart(t *testing.T) {
	a, b := h.peer(t, "a", link.Config{}), h.peer(t, "b", link.Config{})
	if err := errors.Join(a.Send(b.Self, 0, 0, 10, 10), b.Send(a.Self, 0, 0, 10, 10)); err != nil {
		t.Fatal(err)
	}
	a.Wait("frames", func() bool { return a.Frames() == 10 })
	b.Wait("frames", func() bool { return b.Frames() == 10 })
	b.Stop()
	again := StartPeer(t, h.New(t), wire.Incarnation{Node: b.Self.Node, Epoch: 2}, link.Config{})
	start := time.Now()
	if err := a.Send(b.Self, 0, 10, 10, 10); err != nil && !errors.Is(err, link.ErrReset) { // a may hear of it meanwhile
		t.Fatal(err)
	}
	a.Wait("reset", func() bool { return len(a.Resets()) > 0 })
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the reset took %v", took)
	}
	if err := a.Mesh.To(b.Self).Send(context.Background(), nil, make([]byte, 12)); !errors.Is(err, link.ErrGone) {
		t.Errorf("Send to the old incarnation: %v; want ErrGone", err)
	}
	if err := errors.Join(a.Send(again.Self, 0, 0, 10, 10), again.Send(a.Self, 0, 0, 10, 10)); err != nil {
		t.Fatal(err)
	}
	again.Wait("frames", func() bool { return again.Frames() == 10 })
	a.Wait("frames", func() bool { return a.Frames() == 20 })
}

// testMeshInterrupted: interruptions of either side lose nothing.
func (h Harness) testMeshInterrupted(t *testing.T) {
	busA, busB := h.New(t), h.New(t)
	a := StartPeer(t, busA, wire.Incarnation{Node: newNode("a"), Epoch: 1}, link.Config{})
	b := StartPeer(t, busB, wire.Incarnation{Node: newNode("b"), Epoch: 1}, link.Config{})
	const rounds, frames = 6, 2000
	for round := range rounds {
		var wg sync.WaitGroup
		for _, way := range [][2]*Peer{{a, b}, {b, a}} {
			wg.Go(func() {
				if err := way[0].Send(way[1].Self, 7, round*frames, frames, 200); err != nil {
					t.Error(err)
				}
			})
		}
		h.Interrupt([]link.Bus{busA, busB}[round%2])
		wg.Wait()
	}
	for _, p := range []*Peer{a, b} {
		p.Wait("all frames", func() bool { return p.Frames() >= rounds*frames })
		if r := p.Resets(); len(r) > 0 {
			t.Errorf("%v: resets %v", p.Self, r)
		}
	}
}
