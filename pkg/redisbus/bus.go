package redisbus

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// maxDatagram is the largest datagram, in bytes. Redis itself takes 512 MiB, but
// closes a subscriber that is 32 MiB behind.
const maxDatagram = 2 << 20

// Bus carries datagrams over Redis pub/sub. It implements [link.Bus].
type Bus struct {
	cfg     Config
	prefix  string // of channels
	carrier carrier
	canary  *canary // proves that what the carrier writes and reads meets
	ran     atomic.Bool
}

var _ link.Bus = (*Bus)(nil)

// carrier is what moves datagrams: a lane, or the many of a cluster.
type carrier interface {
	ready(src link.Source)
	subscribe(channel string, r link.Receiver) (*subscription, error)
	// watch makes subscriptions prove, by the canary, that they reach the writer.
	watch(c *canary)
	run(ctx context.Context)
}

// New makes a bus that does nothing until [Bus.Run]. Sources and subscriptions may
// be added before.
func New(cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, prefix: "bo:" + cfg.Namespace + ":"}
	if cfg.Topology.kind == cluster {
		b.carrier = newFabric(cfg)
	} else {
		b.carrier = newLane(cfg)
	}
	b.canary = newCanary(cfg, b.prefix+"canary:{"+string(cfg.Node)+"}", b.carrier.ready)
	b.carrier.watch(b.canary)
	if _, err := b.carrier.subscribe(b.canary.channel, b.canary); err != nil {
		return nil, err
	}
	return b, nil
}

// Run connects to Redis and carries datagrams until ctx ends. It keeps trying
// however long Redis is away. It may be called once.
func (b *Bus) Run(ctx context.Context) error {
	if b.ran.Swap(true) {
		return errors.New("redisbus: Run was called before")
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.carrier.run(ctx) })
	wg.Go(func() { b.canary.run(ctx) })
	wg.Wait()
	return nil
}

// Channel returns the name of the inbox channel of a node. The braces keep all
// channels of a node in one slot of a cluster.
func (b *Bus) Channel(n wire.NodeID) string { return b.prefix + "ch:{" + string(n) + "}" }

// Ready schedules src; see [link.Bus].
func (b *Bus) Ready(src link.Source) { b.carrier.ready(src) }

// Subscribe delivers the datagrams of a channel to r; see [link.Bus]. A channel can
// have one receiver at a time.
func (b *Bus) Subscribe(channel string, r link.Receiver) (link.Subscription, error) {
	sub, err := b.carrier.subscribe(channel, r)
	if err != nil {
		return nil, err
	}
	return sub, nil
}

// MaxDatagram is 2 MiB.
func (b *Bus) MaxDatagram() int { return maxDatagram }

// Proven is closed when the canary has come back for the first time.
func (b *Bus) Proven() <-chan struct{} { return b.canary.proven }

// CanaryAge is how long ago the last canary that came back was sent: since then
// both halves of the bus have been known to reach the same Redis. Before the first
// one it is the longest duration.
func (b *Bus) CanaryAge() time.Duration {
	return b.canary.age()
}

// Healthy reports whether the canary is younger than Config.SilenceLimit.
func (b *Bus) Healthy() bool { return b.CanaryAge() < b.cfg.SilenceLimit }

const never = time.Duration(math.MaxInt64)
