package redisbus

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/link"
)

// remote is a server, or whichever is the right one at the moment, as a writer or
// reader connects to it.
type remote struct {
	*Topology
	dial    dialer
	check   func(context.Context, *redis.Conn) error // of a new connection; may be nil
	sharded bool                                     // channels live in slots
}

func (r remote) options(dial dialer) *redis.Options {
	o := r.Topology.options(dial)
	o.OnConnect = r.check
	return o
}

// publish is the command.
func (r remote) publish() string {
	if r.sharded {
		return "spublish"
	}
	return "publish"
}

// lane is what the bus has for a single Redis server, or for the master that the
// sentinels name: a writer and a reader.
type lane struct {
	pub    *publisher
	sub    *subscriber
	master *master // nil without sentinels
}

func newLane(cfg Config) *lane {
	l := new(lane)
	to := remote{Topology: cfg.Topology, dial: cfg.Topology.dial}
	if cfg.Topology.kind == sentinel {
		l.master = newMaster(cfg.Topology)
		to = l.master.remote()
	}
	l.pub, l.sub = newPublisher(cfg, to), newSubscriber(cfg, to)
	l.sub.redial = l.pub.redial
	return l
}

func (l *lane) watch(c *canary) { l.sub.stale = c.stale }

func (l *lane) ready(src link.Source) { l.pub.ready(src) }

func (l *lane) subscribe(channel string, r link.Receiver) (*subscription, error) {
	return l.sub.subscribe(channel, r)
}

func (l *lane) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.pub.run(ctx) })
	wg.Go(func() { l.sub.run(ctx) })
	if l.master != nil {
		wg.Go(func() { l.master.run(ctx) })
	}
	wg.Wait()
}
