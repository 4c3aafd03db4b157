package redisbus

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/link"
)

const (
	// maxFlush is the number of datagrams in one pipeline at most.
	maxFlush = 128
	// arenaBytes is the memory for the datagrams of one pipeline. A pipeline takes
	// no further datagram when less than reserveBytes are left of it.
	arenaBytes   = 256 << 10
	reserveBytes = 64 << 10
)

// publisher is the one writer to a Redis server. It takes one datagram of every
// source that is ready, sends them as one pipeline, waits for the replies, and
// repeats: what becomes ready in the meantime leaves together in the next pipeline.
// More than one connection, or a retried command, would reorder and repeat.
type publisher struct {
	to    remote
	name  string // of the connection
	limit time.Duration
	log   *slog.Logger
	hooks Hooks

	wake chan struct{} // holds a token when queue may be non-empty

	mu        sync.Mutex
	queue     []link.Source            // in the order of ready
	scheduled map[link.Source]struct{} // what is in queue

	replace atomic.Bool // the connection shall be replaced before the next pipeline

	// fabric hands sources from writer to writer in a cluster; nil where there is one.
	fabric *fabric

	// Owned by run.
	client *redis.Client
	pipe   redis.Pipeliner
	batch  []link.Source
	slots  []*slot
	arena  []byte
	fails  int       // pipelines and probes that failed in a row
	downAt time.Time // of the first of them
}

// slot is a PUBLISH command whose memory is used again.
type slot struct {
	src     link.Source
	more    bool // src has more to send
	channel string
	payload payload
	cmd     *redis.IntCmd
}

// payload is a command argument that go-redis writes without another allocation.
type payload struct{ b []byte }

// MarshalBinary implements encoding.BinaryMarshaler.
func (p *payload) MarshalBinary() ([]byte, error) { return p.b, nil }

func newPublisher(cfg Config, to remote) *publisher {
	return &publisher{
		to: to, name: "boreas-" + string(cfg.Node) + "-pub", limit: cfg.SilenceLimit,
		log: cfg.Logger, hooks: cfg.Hooks,
		wake: make(chan struct{}, 1), scheduled: map[link.Source]struct{}{},
		arena: make([]byte, 0, arenaBytes),
	}
}

// ready schedules a source. It may be called from anywhere and never blocks.
func (p *publisher) ready(src link.Source) {
	p.mu.Lock()
	_, known := p.scheduled[src]
	if !known {
		p.scheduled[src] = struct{}{}
		p.queue = append(p.queue, src)
	}
	first := !known && len(p.queue) == 1
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// redial replaces the connection before the next pipeline.
func (p *publisher) redial() { p.replace.Store(true) }

func (p *publisher) run(ctx context.Context) {
	p.connect(ctx)
	defer func() { _ = p.client.Close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for ctx.Err() == nil && p.flush(ctx) {
			if p.fails > 0 && !p.recover(ctx) {
				return
			}
		}
	}
}

// connect makes the client; its connection is made by the first command.
func (p *publisher) connect(ctx context.Context) {
	if p.client != nil {
		_ = p.client.Close()
	}
	o := p.to.options(bound(ctx, p.to.dial))
	o.ClientName = p.name
	o.PoolSize = 1
	o.ReadTimeout, o.WriteTimeout = p.limit, p.limit
	p.client = redis.NewClient(o)
	p.pipe = p.client.Pipeline()
}

// take moves the sources of the next pipeline to p.batch.
func (p *publisher) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(p.queue), maxFlush)
	p.batch = append(p.batch[:0], p.queue[:n]...)
	p.queue = slices.Delete(p.queue, 0, n)
	for _, src := range p.batch {
		delete(p.scheduled, src)
	}
}

// flush sends one pipeline. It reports false when no source was ready.
func (p *publisher) flush(ctx context.Context) bool {
	p.take()
	if len(p.batch) == 0 {
		return false
	}
	if p.replace.Swap(false) {
		p.connect(ctx)
	}
	arena, n := p.arena, 0
	for i, src := range p.batch {
		if cap(arena)-len(arena) < reserveBytes {
			for _, later := range p.batch[i:] {
				p.ready(later)
			}
			break
		}
		if p.fabric != nil && !p.fabric.owns(p, src) {
			p.fabric.done(p, src, true)
			continue
		}
		free := arena[len(arena):]
		datagram, more := src.Next(free)
		if len(datagram) == 0 {
			p.done(src, more)
			continue
		}
		if len(datagram) <= cap(free) {
			arena = arena[:len(arena)+len(datagram)]
		}
		p.slot(ctx, n).set(src, datagram, more)
		n++
	}
	clear(p.batch) // hold no source that is gone
	if n > 0 {
		p.exec(ctx, p.slots[:n])
	}
	return true
}

// slot returns the i-th slot, and makes it if need be.
func (p *publisher) slot(ctx context.Context, i int) *slot {
	if i == len(p.slots) {
		s := new(slot)
		s.cmd = redis.NewIntCmd(ctx, p.to.publish(), &s.channel, &s.payload)
		p.slots = append(p.slots, s)
	}
	return p.slots[i]
}

func (s *slot) set(src link.Source, datagram []byte, more bool) {
	s.src, s.more, s.channel, s.payload.b = src, more, src.Destination(), datagram
	s.cmd.SetErr(nil)
	s.cmd.SetVal(0)
}

// exec publishes and tells every source its outcome. After an error it is unknown
// whether Redis carried out the command.
func (p *publisher) exec(ctx context.Context, slots []*slot) {
	var start time.Time
	if p.hooks.Published != nil {
		start = time.Now()
	}
	for _, s := range slots {
		_ = p.pipe.Process(ctx, s.cmd) // only queues it
	}
	_, err := p.pipe.Exec(ctx)
	bytes := 0
	for _, s := range slots {
		bytes += len(s.payload.b)
		src, receivers, cmdErr := s.src, s.cmd.Val(), s.cmd.Err()
		s.src, s.payload.b = nil, nil
		if cmdErr != nil {
			receivers = -1
		}
		src.Published(receivers, cmdErr)
		p.done(src, s.more)
	}
	if err != nil {
		p.failed(ctx, err, len(slots))
		return
	}
	if p.fails > 0 {
		p.log.Info("publishing to Redis again", "redis", p.to, "after", time.Since(p.downAt))
		p.fails = 0
	}
	if p.hooks.Published != nil {
		p.hooks.Published(len(slots), bytes, time.Since(start))
	}
}

// done is called when the pipeline with a datagram of src is over, and when src had
// none.
func (p *publisher) done(src link.Source, more bool) {
	if p.fabric != nil {
		p.fabric.done(p, src, more)
	} else if more {
		p.ready(src)
	}
}

// holds reports whether src is scheduled here.
func (p *publisher) holds(src link.Source) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.scheduled[src]
	return known
}

func (p *publisher) failed(ctx context.Context, err error, datagrams int) {
	if p.hooks.PublishFailed != nil {
		p.hooks.PublishFailed(datagrams)
	}
	if p.fabric != nil {
		p.fabric.view.refresh() // the slot may have moved
	}
	p.fails++
	if p.fails == 1 {
		p.downAt = time.Now()
		if ctx.Err() == nil {
			p.log.Warn("publishing to Redis fails; retrying", "redis", p.to, "err", err)
		}
	}
}

// recover waits, after a pipeline failed, until Redis answers. It reports false when
// ctx ended. Sources keep what they have until then, instead of losing it again.
func (p *publisher) recover(ctx context.Context) bool {
	for {
		if !backoff(ctx, p.fails) {
			return false
		}
		if p.client.Ping(ctx).Err() == nil {
			return true
		}
		p.fails++
	}
}
