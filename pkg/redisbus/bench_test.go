package redisbus

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// pump is a source of equal datagrams, and a receiver that counts them.
type pump struct {
	bus      *Bus
	ch       string
	datagram []byte
	left     atomic.Int64 // datagrams still to be sent
	flying   atomic.Int64 // bytes sent and not received
	received atomic.Int64
	arrived  chan struct{} // gets a token at each arrival, if not nil
}

func (p *pump) Destination() string { return p.ch }

// window is what a pump has in flight at most, in bytes: Redis closes subscribers
// that fall far behind.
const window = 1 << 20

func (p *pump) Next(buf []byte) ([]byte, bool) {
	size := int64(len(p.datagram))
	if p.left.Load() == 0 || p.flying.Load() > window-size {
		return buf, false
	}
	p.flying.Add(size)
	return append(buf, p.datagram...), p.left.Add(-1) > 0
}

func (p *pump) Published(int64, error) {}

func (p *pump) Datagram([]byte) {
	p.received.Add(1)
	if p.flying.Add(-int64(len(p.datagram))) == 0 {
		p.bus.Ready(p)
	}
	if p.arrived != nil {
		p.arrived <- struct{}{}
	}
}

func (p *pump) Gap() {}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports what this process used per operation, without redis-server.
func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

func benchBus(b *testing.B) *Bus {
	return start(b, Config{Topology: parse(b, server(b).URL()), Node: "n1"})
}

// BenchmarkPingPong measures one datagram of 150 bytes at a time, there and back.
func BenchmarkPingPong(b *testing.B) {
	bus := benchBus(b)
	p := &pump{bus: bus, ch: "ch", datagram: make([]byte, 150), arrived: make(chan struct{}, 1)}
	sub, err := bus.Subscribe(p.ch, p)
	if err != nil {
		b.Fatal(err)
	}
	wait(b, "subscribed", sub.Ready())
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		p.left.Store(1)
		bus.Ready(p)
		<-p.arrived
	}
	reportCPU(b, before)
}

// BenchmarkThroughput measures datagrams to several peers, as fast as they go.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{150, 4 << 10, 64 << 10} {
		for _, peers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%dB/%dpeers", size, peers), func(b *testing.B) {
				bus := benchBus(b)
				pumps := make([]*pump, peers)
				for i := range pumps {
					pumps[i] = &pump{bus: bus, ch: bus.Channel(wire.NodeID(fmt.Sprint("p", i))), datagram: make([]byte, size)}
					sub, err := bus.Subscribe(pumps[i].ch, pumps[i])
					if err != nil {
						b.Fatal(err)
					}
					wait(b, "subscribed", sub.Ready())
				}
				b.ReportAllocs()
				b.SetBytes(int64(size))
				b.ResetTimer()
				before := cpu()
				for i, p := range pumps {
					share := b.N / peers
					if i < b.N%peers {
						share++
					}
					p.left.Store(int64(share))
					bus.Ready(p)
				}
				eventually(b, "all arrived", func() bool {
					sum := int64(0)
					for _, p := range pumps {
						sum += p.received.Load()
					}
					return sum == int64(b.N)
				})
				reportCPU(b, before)
			})
		}
	}
}
