package linktest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// tally counts frames.
type tally struct {
	frames chan int // how many arrived, when want was reached
	got    int
	want   int
}

func (c *tally) Frame(wire.Incarnation, []byte) {
	if c.got++; c.got == c.want {
		c.frames <- c.got
	}
}
func (c *tally) Reset(wire.Incarnation, link.Reset) {}

func runMesh(b *testing.B, bus link.Bus, id wire.NodeID, h link.Handler) *link.Mesh {
	m, err := link.NewMesh(link.Config{Self: wire.Incarnation{Node: id, Epoch: 1}, Bus: bus, Handler: h})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	b.Cleanup(func() {
		cancel()
		<-done
	})
	<-m.Subscribed()
	return m
}

// BenchmarkOneWay is a frame from Send to the peer's Handler, all goroutines of
// both ends and the memory bus included.
func BenchmarkOneWay(b *testing.B) {
	for _, senders := range []int{1, 16} {
		for _, size := range []int{64, 128, 1024} {
			b.Run(fmt.Sprintf("%d senders/%dB", senders, size), func(b *testing.B) {
				n := linktest.NewNetwork()
				c := &tally{frames: make(chan int, 1), want: b.N / senders * senders}
				from := runMesh(b, linktest.Start(b, n, "a"), "a", &tally{})
				runMesh(b, linktest.Start(b, n, "b"), "b", c)
				l := from.To(wire.Incarnation{Node: "b", Epoch: 1})
				payload := make([]byte, size)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				b.ResetTimer()
				var wg sync.WaitGroup
				for range senders {
					wg.Go(func() {
						for range b.N / senders {
							if err := l.Send(context.Background(), nil, payload); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if c.want > 0 {
					<-c.frames
				}
			})
		}
	}
}

// mirror answers every frame with itself, as a control frame, which cannot block.
type mirror struct{ mesh *link.Mesh }

func (m *mirror) Frame(from wire.Incarnation, frame []byte) { _ = m.mesh.To(from).SendControl(frame) }
func (m *mirror) Reset(wire.Incarnation, link.Reset)        {}

// pulse passes on every frame that arrives.
type pulse struct{ c chan struct{} }

func (p *pulse) Frame(wire.Incarnation, []byte)     { p.c <- struct{}{} }
func (p *pulse) Reset(wire.Incarnation, link.Reset) {}

// BenchmarkPingPong is a round trip of 128 bytes over the memory bus with a given
// number of frames on their way.
func BenchmarkPingPong(b *testing.B) {
	for _, window := range []int{1, 16, 1024} {
		b.Run(fmt.Sprintf("window %d", window), func(b *testing.B) {
			n := linktest.NewNetwork()
			p := &pulse{c: make(chan struct{}, window)}
			m := &mirror{}
			from := runMesh(b, linktest.Start(b, n, "a"), "a", p)
			m.mesh = runMesh(b, linktest.Start(b, n, "b"), "b", m)
			l := from.To(wire.Incarnation{Node: "b", Epoch: 1})
			payload := make([]byte, 128)
			b.ReportAllocs()
			b.ResetTimer()
			flying := 0
			for range b.N {
				if flying == window {
					<-p.c
					flying--
				}
				if err := l.Send(context.Background(), nil, payload); err != nil {
					b.Fatal(err)
				}
				flying++
			}
			for ; flying > 0; flying-- {
				<-p.c
			}
		})
	}
}

// BenchmarkLoopback is a frame from Send to the Handler of the same node.
func BenchmarkLoopback(b *testing.B) {
	c := &tally{frames: make(chan int, 1), want: b.N}
	m := runMesh(b, linktest.NewNetwork().Bus("a"), "a", c)
	l := m.To(wire.Incarnation{Node: "a", Epoch: 1})
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := l.Send(context.Background(), nil, payload); err != nil {
			b.Fatal(err)
		}
	}
	<-c.frames
}
