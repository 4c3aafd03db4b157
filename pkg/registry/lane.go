package registry

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// lane brings one gateway's pins in one service to Redis, in order: at most one
// exchange is under way, and what gathers meanwhile goes with the next one. Renewals
// of the gateway's lease travel in the same order, so that they can compare what
// Redis has with what this node remembers.
type lane struct {
	// immutable
	r       *Registry
	service string
	keys    serviceKeys
	wake    chan struct{} // capacity 1
	ended   chan struct{} // closed when run has ended

	mu      sync.Mutex
	set     *pinSet            // guarded by mu
	closed  bool               // guarded by mu
	lastErr error              // guarded by mu
	cancel  context.CancelFunc // guarded by mu: ends run

	// owned by run
	member  string // lease member of the present generation; "" before the first
	joined  bool   // it is good, as far as we know
	cause   Cause  // why it is not
	next    string // the generation that is being written
	todo    []pinned
	beatDue bool
	limit   int       // of a batch: smaller while exchanges fail, in case they are too long
	unseen  time.Time // since when the view has not had the service; zero if it has
	names   map[string]wire.Incarnation
}

// pinned is one pin to restore.
type pinned struct {
	socket   wire.SocketID
	instance wire.Incarnation
}

func newLane(r *Registry, service string) *lane {
	return &lane{
		r: r, service: service, keys: r.keys.service(service),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		limit: r.cfg.Batch, set: newPinSet(), cancel: func() {}, cause: CauseJoin, names: map[string]wire.Incarnation{},
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) pin(socket wire.SocketID, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set.pin(socket, w, l.r.cfg.MaxWaiting) {
		l.signal()
	}
}

func (l *lane) unpin(socket wire.SocketID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set.unpin(socket) {
		l.signal()
	}
}

// abandon takes a request for a pin back and returns the answer that it got.
func (l *lane) abandon(socket wire.SocketID, w *waiter) pinResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set.abandon(socket, w)
	l.signal()
	select {
	case res := <-w.done:
		return res
	default:
		return pinResult{err: errUnpinned}
	}
}

func (l *lane) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.set.settled)
}

// failure is the last error of an exchange, if it was the last exchange.
func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr
}

// close fails all requests and ends run.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.set.fail(fmt.Errorf("%w: this node stops pinning", ErrUnavailable))
	l.cancel()
}

// run serves the lane until it is closed or ctx ends.
func (l *lane) run(ctx context.Context) {
	defer close(l.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	closed := l.closed
	l.cancel = cancel
	l.mu.Unlock()
	if closed {
		return
	}
	l.r.repeat(ctx, l.wake, &l.beatDue, func(ctx context.Context, tick <-chan time.Time) error {
		err := l.work(ctx, tick)
		l.mu.Lock()
		l.lastErr = err
		l.mu.Unlock()
		return err
	})
}

// work does all that there is to do.
func (l *lane) work(ctx context.Context, tick <-chan time.Time) error {
	var batch []operation
	for ctx.Err() == nil {
		select {
		case <-tick:
			l.beatDue = true
		default:
		}
		if !l.joined {
			if !l.r.cfg.Alive() {
				return errDeaf
			}
			if err := l.join(ctx); err != nil {
				return err
			}
			continue
		}
		l.mu.Lock()
		batch = l.set.take(l.limit, batch[:0])
		l.mu.Unlock()
		if len(batch) > 0 {
			if err := l.send(ctx, batch); err != nil {
				return err
			}
		}
		l.mu.Lock()
		certain := !l.set.doubtful()
		l.mu.Unlock()
		switch { // a batch and a beat take turns: neither can starve the other
		case l.beatDue && l.joined && certain:
			if err := l.beat(ctx, true); err != nil {
				return err
			}
			l.beatDue = false
			if l.retire() {
				return nil
			}
		case len(batch) == 0:
			return nil
		}
	}
	return nil
}

// send runs one batch.
func (l *lane) send(ctx context.Context, batch []operation) error {
	args := make([]any, 0, 2+2*len(batch))
	args = append(args, l.member, ms(l.r.cfg.LeaseTTL))
	for _, op := range batch {
		args = append(args, op.code, string(op.entry.socket))
	}
	k := l.keys
	c := &call{
		script: scriptPins,
		keys:   []string{k.instances, k.counts, k.leases, k.clock, k.pinsOf(l.member), k.checksums},
		args:   args, n: len(batch),
	}
	err := l.r.exec(ctx, c)
	if err == nil && len(c.reply) != len(batch) { // fenced
		l.mu.Lock()
		l.set.unknown(batch)
		l.mu.Unlock()
		if !l.r.cfg.Alive() {
			return errDeaf
		}
		return l.beat(ctx, false) // finds out why
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if err != nil {
		l.set.unknown(batch)
		l.limit = max(l.limit/2, 1)
		return err
	}
	l.limit = min(2*l.limit, l.r.cfg.Batch)
	for n := range batch {
		batch[n].at = l.instance(text(c.reply[n]))
	}
	l.set.settle(batch)
	return nil
}

// errDeaf says that a node does not renew its leases. What needs one is tried again
// later, not at once.
var errDeaf = fmt.Errorf("%w: this node cannot be reached through the bus", ErrUnavailable)

// instance parses an instance's name. Equal ones share memory.
func (l *lane) instance(name string) wire.Incarnation {
	if name == "" {
		return wire.Incarnation{}
	}
	i, ok := l.names[name]
	if !ok {
		if len(l.names) >= maxNames {
			clear(l.names)
		}
		i = incarnation(name)
		l.names[name] = i
	}
	return i
}

// maxNames bounds the names of instances that a lane keeps at hand.
const maxNames = 4096

// beat renews the lease and, if told to, compares pins.
func (l *lane) beat(ctx context.Context, compare bool) error {
	if !l.r.cfg.Alive() {
		return nil
	}
	pins, sum := "", ""
	if compare {
		l.mu.Lock()
		pins, sum = strconv.Itoa(len(l.set.settled)), strconv.FormatInt(l.set.sum, 10)
		l.mu.Unlock()
	}
	c := l.r.beatCall(l.keys, l.member, pins, sum)
	if err := l.r.exec(ctx, c); err != nil {
		return err
	}
	if status := text(at(c.reply, 0)); status != "ok" {
		l.joined, l.cause = false, Cause(status)
		if l.cause == CauseDrift {
			l.r.log.Warn("redis has other pins than this node remembers", "service", l.service, "pins", pins, "sum", sum, "redis", texts(c.reply[1:]))
		}
	}
	return nil
}

// retire ends the lane if it has nothing to do and its service is gone.
func (l *lane) retire() bool {
	if !l.joined {
		return false
	}
	if l.r.View().Services[l.service] != nil {
		l.unseen = time.Time{}
		return false
	}
	if l.unseen.IsZero() {
		l.unseen = time.Now()
	}
	if time.Since(l.unseen) < l.r.cfg.LeaseTTL {
		return false
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.mu.Lock()
	idle := len(l.set.settled) == 0 && len(l.set.pending) == 0
	l.mu.Unlock()
	if !idle || l.r.lanes[l.service] != l {
		return false
	}
	delete(l.r.lanes, l.service)
	l.close()
	l.r.reaper.add(l.service, l.member, true)
	return true
}
