package link

import (
	"context"
	"fmt"
	"testing"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// pipe is a bus that hands datagrams over when the benchmark says so.
type pipe struct{ src Source }

func (p *pipe) Channel(n wire.NodeID) string { return string(n) }
func (p *pipe) Ready(src Source)             { p.src = src }
func (p *pipe) MaxDatagram() int             { return 2 << 20 }
func (p *pipe) Subscribe(string, Receiver) (Subscription, error) {
	panic("a pipe has no subscriptions")
}

type count struct{ frames int }

func (c *count) Frame(wire.Incarnation, []byte) { c.frames++ }
func (c *count) Reset(wire.Incarnation, Reset)  {}

func benchMesh(b *testing.B, id wire.NodeID) (*Mesh, *pipe, *count) {
	p, c := &pipe{}, &count{}
	m, err := NewMesh(Config{Self: wire.Incarnation{Node: id, Epoch: 1}, Bus: p, Handler: c})
	if err != nil {
		b.Fatal(err)
	}
	return m, p, c
}

// BenchmarkSend is the cost of a frame for the sending goroutine and the bus's
// writer: Send, and its share of Next and of the acknowledgement.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{16, 128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			m, p, _ := benchMesh(b, "a")
			l := m.To(wire.Incarnation{Node: "b", Epoch: 1})
			head, payload, ctx := make([]byte, 8), make([]byte, size-8), context.Background()
			buf := make([]byte, 0, 128<<10)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if err := l.Send(ctx, head, payload); err != nil {
					b.Fatal(err)
				}
				if i%500 == 499 {
					for more := true; more; {
						_, more = p.src.Next(buf[:0])
						p.src.Published(1, nil)
					}
					l.mu.Lock()
					l.snd.ack(l.snd.sent, m.now())
					l.mu.Unlock()
				}
			}
		})
	}
}

// BenchmarkReceive is the cost of a frame for the receive goroutine, in batches
// of 500, allocation of the datagram not included.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{16, 128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			m, _, c := benchMesh(b, "b")
			l := m.To(wire.Incarnation{Node: "a", Epoch: 1})
			frame := append([]byte{}, make([]byte, size+2)...)
			n := copy(frame, appendUvarint(size))
			frame = frame[:n+size]
			batch := min(500, 60<<10/len(frame))
			var body []byte
			for range batch {
				body = append(body, frame...)
			}
			h := header{epoch: 1, to: 1, gen: 1, known: 0}
			buf := make([]byte, 0, 128<<10)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if i%batch == 0 {
					h.num++
					h.first, h.count = h.last+1, batch
					h.last += uint64(batch)
					(*inbox)(m).Datagram(append(appendHeader(buf[:0], "a", &h), body...))
				}
			}
			if c.frames == 0 || l.Stats().FramesReceived == 0 {
				b.Fatal("nothing was received")
			}
		})
	}
}

func appendUvarint(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// BenchmarkPingPong is a single frame to the peer and back, all parts included
// but the bus itself.
func BenchmarkPingPong(b *testing.B) {
	ma, pa, ca := benchMesh(b, "a")
	mb, pb, _ := benchMesh(b, "b")
	there, back := ma.To(mb.cfg.Self), mb.To(ma.cfg.Self)
	payload, ctx := make([]byte, 128), context.Background()
	buf := make([]byte, 0, 128<<10)
	carry := func(p *pipe, to *Mesh) {
		d, _ := p.src.Next(buf[:0])
		p.src.Published(1, nil)
		(*inbox)(to).Datagram(d)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = there.Send(ctx, nil, payload)
		carry(pa, mb)
		_ = back.Send(ctx, nil, payload)
		carry(pb, ma)
	}
	if ca.frames == 0 {
		b.Fatal("nothing came back")
	}
}
