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
	cfg    Config
	prefix string // of channels
	lanes  []*lane
	ran    atomic.Bool
}

var _ link.Bus = (*Bus)(nil)

// lane is what the bus has for one Redis server: a writer, a reader, and the canary
// that proves that both meet the same server.
type lane struct {
	pub    *publisher
	sub    *subscriber
	canary *canary
}

// New makes a bus that does nothing until [Bus.Run]. Sources and subscriptions may
// be added before.
func New(cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, prefix: "bo:" + cfg.Namespace + ":"}
	l := &lane{pub: newPublisher(cfg), sub: newSubscriber(cfg)}
	l.canary = newCanary(cfg, b.prefix+"canary:{"+string(cfg.Node)+"}", l.pub)
	l.sub.stale = l.canary.stale
	l.sub.redial = l.pub.redial
	if _, err := l.sub.subscribe(l.canary.channel, l.canary); err != nil {
		return nil, err
	}
	b.lanes = []*lane{l}
	return b, nil
}

// Run connects to Redis and carries datagrams until ctx ends. It keeps trying
// however long Redis is away. It may be called once.
func (b *Bus) Run(ctx context.Context) error {
	if b.ran.Swap(true) {
		return errors.New("redisbus: Run was called before")
	}
	var wg sync.WaitGroup
	for _, l := range b.lanes {
		wg.Go(func() { l.pub.run(ctx) })
		wg.Go(func() { l.sub.run(ctx) })
		wg.Go(func() { l.canary.run(ctx) })
	}
	wg.Wait()
	return nil
}

// lane returns the lane of the Redis server that carries a channel. A standalone
// server carries all.
func (b *Bus) lane(string) *lane { return b.lanes[0] }

// Channel returns the name of the inbox channel of a node. The braces keep all
// channels of a node in one slot of a cluster.
func (b *Bus) Channel(n wire.NodeID) string { return b.prefix + "ch:{" + string(n) + "}" }

// Ready schedules src; see [link.Bus].
func (b *Bus) Ready(src link.Source) { b.lane(src.Destination()).pub.ready(src) }

// Subscribe delivers the datagrams of a channel to r; see [link.Bus]. A channel can
// have one receiver at a time.
func (b *Bus) Subscribe(channel string, r link.Receiver) (link.Subscription, error) {
	return b.lane(channel).sub.subscribe(channel, r)
}

// MaxDatagram is 2 MiB.
func (b *Bus) MaxDatagram() int { return maxDatagram }

// Proven is closed when the canary has come back for the first time.
func (b *Bus) Proven() <-chan struct{} { return b.lanes[0].canary.proven }

// CanaryAge is how long ago the last canary that came back was sent: since then
// both halves of the bus have been known to reach the same Redis. Before the first
// one it is the longest duration.
func (b *Bus) CanaryAge() time.Duration {
	age := time.Duration(0)
	for _, l := range b.lanes {
		age = max(age, l.canary.age())
	}
	return age
}

// Healthy reports whether the canary is younger than Config.SilenceLimit.
func (b *Bus) Healthy() bool { return b.CanaryAge() < b.cfg.SilenceLimit }

const never = time.Duration(math.MaxInt64)
