package linktest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// maxDatagram is the largest datagram of a memory bus, in bytes.
const maxDatagram = 2 << 20

// maxQueue is how many bytes may wait for a slow receiver before further
// datagrams to it are lost, as they are when Redis gives up on a subscriber.
const maxQueue = 8 << 20

// Faults say what a [Network] does to datagrams. Probabilities are from 0 to 1.
type Faults struct {
	Drop      float64       // is lost
	Duplicate float64       // is delivered twice
	Reorder   float64       // is delivered after the next one of the same channel
	MinDelay  time.Duration // every datagram takes at least so long
	MaxDelay  time.Duration // and at most so long; later ones may overtake it
}

// Network is a set of channels in memory.
type Network struct {
	mu       sync.Mutex
	random   *rand.Rand
	faults   Faults
	channels map[string][]*subscription
	cuts     map[[2]wire.NodeID]bool
}

// NewNetwork returns a network without faults, whose randomness is always the
// same.
func NewNetwork() *Network {
	return &Network{
		random:   rand.New(rand.NewPCG(1, 2)),
		channels: map[string][]*subscription{},
		cuts:     map[[2]wire.NodeID]bool{},
	}
}

// SetFaults changes what happens to datagrams from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Cut loses all datagrams from one node to another; the other direction works on.
func (n *Network) Cut(from, to wire.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]wire.NodeID{from, to}] = true
}

// Heal undoes all cuts and ends all faults.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	n.faults = Faults{}
}

// Bus is one node's connection to a [Network].
type Bus struct {
	network *Network
	node    wire.NodeID

	mu        sync.Mutex
	ready     []link.Source
	scheduled map[link.Source]bool
	wake      chan struct{}
	subs      []*subscription
}

// Bus returns a new connection. node is the name that cuts go by; it may be empty.
// Its datagrams leave while Run runs.
func (n *Network) Bus(node wire.NodeID) *Bus {
	return &Bus{network: n, node: node, scheduled: map[link.Source]bool{}, wake: make(chan struct{}, 1)}
}

// Start runs a bus until the test ends.
func Start(t testing.TB, n *Network, node wire.NodeID) *Bus {
	b := n.Bus(node)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

// Channel returns the name of a node's inbox.
func (b *Bus) Channel(n wire.NodeID) string { return "ch:" + string(n) }

// MaxDatagram is 2 MiB.
func (b *Bus) MaxDatagram() int { return maxDatagram }

// Ready schedules src.
func (b *Bus) Ready(src link.Source) {
	b.mu.Lock()
	if !b.scheduled[src] {
		b.scheduled[src] = true
		b.ready = append(b.ready, src)
	}
	b.mu.Unlock()
	signal(b.wake)
}

// Run publishes until ctx ends.
func (b *Bus) Run(ctx context.Context) {
	var flush []link.Source
	var buf []byte
	for {
		b.mu.Lock()
		flush, b.ready = b.ready, flush[:0]
		for _, src := range flush {
			delete(b.scheduled, src)
		}
		b.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if len(flush) == 0 {
			select {
			case <-ctx.Done():
			case <-b.wake:
			}
			continue
		}
		for _, src := range flush {
			out, more := src.Next(buf[:0])
			if len(out) > 0 {
				src.Published(b.network.publish(b.node, src.Destination(), out), nil)
			}
			if more {
				b.Ready(src)
			}
			buf = out
		}
		clear(flush)
	}
}

// publish hands a copy of data to the subscribers of a channel and returns their
// number.
func (n *Network) publish(from wire.NodeID, channel string, data []byte) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	receivers := int64(0)
	for _, s := range n.channels[channel] {
		receivers++
		copies := 1
		if n.chance(n.faults.Duplicate) {
			copies++
		}
		if n.cuts[[2]wire.NodeID{from, s.bus.node}] || n.chance(n.faults.Drop) {
			copies = 0
		}
		for range copies {
			n.carry(s, slices.Clone(data))
		}
	}
	return receivers
}

func (n *Network) chance(p float64) bool { return p > 0 && n.random.Float64() < p }

// carry queues data at a subscription, now or later. The caller holds n.mu.
func (n *Network) carry(s *subscription, data []byte) {
	late := n.chance(n.faults.Reorder)
	if delay := n.faults.MaxDelay; delay > 0 {
		delay = n.faults.MinDelay + time.Duration(n.random.Int64N(int64(max(delay-n.faults.MinDelay, 1))))
		time.AfterFunc(delay, func() { s.queue(data, late) })
		return
	}
	s.queue(data, late)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
