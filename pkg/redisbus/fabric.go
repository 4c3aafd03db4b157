package redisbus

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/boreas-ws/boreas/pkg/link"
)

// fabric carries datagrams in a cluster. Each master has one writer; a source
// is with one of them at a time, and goes to another one, between two datagrams,
// when its channel's slot does. Each slot with a subscription has a reader.
type fabric struct {
	cfg  Config
	view *view

	mu       sync.Mutex
	ctx      context.Context            // guarded by mu: of run; nil before
	wg       *sync.WaitGroup            // of run
	writers  map[string]*writer         // guarded by mu: by address
	holders  map[link.Source]*publisher // guarded by mu: where it is scheduled or in flight
	homeless map[link.Source]struct{}   // guarded by mu: its slot has no known master
	readers  map[int]*reader            // guarded by mu: by slot
	canary   *canary                    // guarded by mu
}

// writer is a publisher that runs.
type writer struct {
	*publisher
	stop context.CancelFunc
}

// reader is the subscriber of a slot, tied to the slot's master.
type reader struct {
	*subscriber
	tether *tether
}

func newFabric(cfg Config) *fabric {
	f := &fabric{
		cfg: cfg, view: newView(cfg.Topology), wg: new(sync.WaitGroup),
		writers: map[string]*writer{}, holders: map[link.Source]*publisher{},
		homeless: map[link.Source]struct{}{}, readers: map[int]*reader{},
	}
	f.view.changed = f.rearrange
	return f
}

func (f *fabric) run(ctx context.Context) {
	f.mu.Lock()
	f.ctx = ctx
	for _, r := range f.readers {
		f.wg.Go(func() { r.run(ctx) })
	}
	f.mu.Unlock()
	f.view.run(ctx)
	f.wg.Wait()
}

func (f *fabric) watch(c *canary) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.canary = c
}

func (f *fabric) subscribe(channel string, to link.Receiver) (*subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := slotOf(channel)
	r := f.readers[slot]
	if r == nil {
		r = f.newReader(slot)
		f.readers[slot] = r
		if f.ctx != nil && f.ctx.Err() == nil {
			ctx := f.ctx
			f.wg.Go(func() { r.run(ctx) })
		}
	}
	return r.subscribe(channel, to)
}

// newReader makes the reader of a slot. The caller holds mu.
func (f *fabric) newReader(slot int) *reader {
	t := newTether(f.cfg.Topology, func(ctx context.Context) (string, error) {
		select {
		case <-ctx.Done():
		case <-f.view.known:
		}
		if owner := f.view.owner(slot); owner != "" {
			return owner, nil
		}
		return "", fmt.Errorf("no master is known for slot %d", slot)
	})
	sub := newSubscriber(f.cfg, remote{Topology: f.cfg.Topology, dial: t.dial, sharded: true})
	sub.stale = f.canary.stale
	sub.lost = f.view.refresh
	home := slotOf(f.canary.channel)
	sub.redial = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if w := f.writers[f.view.owner(home)]; w != nil {
			w.redial()
		}
	}
	return &reader{subscriber: sub, tether: t}
}

func (f *fabric) ready(src link.Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assign(src)
}

// assign schedules src with the writer that has it, or else with the master's. The
// caller holds mu.
func (f *fabric) assign(src link.Source) {
	p := f.holders[src]
	if p == nil {
		w := f.writers[f.view.owner(slotOf(src.Destination()))]
		if w == nil {
			f.homeless[src] = struct{}{}
			return
		}
		p = w.publisher
		f.holders[src] = p
	}
	p.ready(src)
}

// owns reports whether p is the writer for src.
func (f *fabric) owns(p *publisher, src link.Source) bool {
	owner := f.view.owner(slotOf(src.Destination()))
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.writers[owner]
	return owner == "" || w != nil && w.publisher == p
}

// done is called when p is through with src for now.
func (f *fabric) done(p *publisher, src link.Source, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.holds(src) {
		return // it is scheduled there again
	}
	delete(f.holders, src)
	if more {
		f.assign(src)
	}
}

// rearrange follows a change of the view.
func (f *fabric) rearrange() {
	owners := f.view.owners()
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr, w := range f.writers {
		if !owners[addr] {
			w.stop()
			delete(f.writers, addr)
		}
	}
	for addr := range owners {
		if f.writers[addr] == nil {
			f.writers[addr] = f.start(addr)
		}
	}
	for slot, r := range f.readers {
		if owner := f.view.owner(slot); owner != "" {
			r.tether.keep(owner)
		}
	}
	homeless := f.homeless
	f.homeless = map[link.Source]struct{}{}
	for src := range homeless {
		f.assign(src)
	}
}

// start starts the writer to a master. The caller holds mu.
func (f *fabric) start(addr string) *writer {
	ctx, stop := context.WithCancel(f.ctx)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return f.cfg.Topology.dial(ctx, "tcp", addr)
	}
	p := newPublisher(f.cfg, remote{Topology: f.cfg.Topology, dial: dial, sharded: true})
	p.fabric = f
	f.wg.Go(func() {
		p.run(ctx)
		f.retire(p)
	})
	return &writer{publisher: p, stop: stop}
}

// retire gives away what a writer that has ended still had.
func (f *fabric) retire(p *publisher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []link.Source
	for src, holder := range f.holders {
		if holder == p {
			delete(f.holders, src)
			left = append(left, src)
		}
	}
	for _, src := range left {
		f.assign(src)
	}
}
