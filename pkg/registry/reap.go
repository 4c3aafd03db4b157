package registry

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// reapChunk is how many pins one call of the script reap.lua removes.
	reapChunk = 500
	// rememberDead is how long Redis tells who died, so that everybody who polls
	// meanwhile can tell a death from lost data.
	rememberDead = time.Minute
	// rememberGateways is the same for nodes as gateways, so that one which was
	// suspended learns that others took it for dead.
	rememberGateways = time.Hour
	// maxSuspects is how many expired leases one look at a service returns.
	maxSuspects = 32
)

// reap removes a member whose lease has expired, or, if its owner leaves, at once.
func (r *Registry) reap(ctx context.Context, service, name string, leaves bool) error {
	if mutantReap && !leaves {
		return nil
	}
	if service == gatewaysEntry {
		return r.reapGateway(ctx, name, leaves)
	}
	m, err := parseMember(name)
	if err != nil {
		return err // not ours: leave it alone
	}
	k := r.keys.service(service)
	pins, force, cursor := k.instances, "0", "0"
	if m.kind == KindGateway {
		pins = k.pinsOf(name)
	}
	if leaves {
		force = "1"
	}
	removed := 0
	for {
		c := &call{
			script: scriptReap,
			keys:   []string{k.instances, k.counts, k.leases, k.clock, k.checksums, k.version, k.dead, pins},
			args: []any{
				name, force, ms(r.cfg.LeaseTTL), reapChunk, cursor,
				r.keys.events(), service, ms(rememberDead),
			},
			n: 1,
		}
		if err := r.exec(ctx, c); err != nil {
			return err
		}
		n, _ := at(c.reply, 1).(int64)
		removed += int(n)
		switch status := text(at(c.reply, 0)); status {
		case "more":
			cursor = text(at(c.reply, 2))
		case "done":
			r.cfg.Hooks.Reaped(service, m.kind, removed)
			if !leaves && m.incarnation != r.cfg.Self {
				r.log.Warn("removed a dead node", "service", service, "kind", m.kind, "node", m.incarnation.String(), "pins", removed)
			}
			return nil
		case "alive", "gone":
			return nil
		default:
			return fmt.Errorf("reap %s: unexpected answer %q", name, status)
		}
	}
}

// reaper removes the dead in a goroutine of its own: a large gateway takes a while.
type reaper struct {
	r    *Registry
	wake chan struct{} // capacity 1

	mu   sync.Mutex
	todo map[suspect]bool // guarded by mu: suspect -> its owner leaves
}

type suspect struct{ service, member string }

func newReaper(r *Registry) *reaper {
	return &reaper{r: r, wake: make(chan struct{}, 1), todo: map[suspect]bool{}}
}

// add notes a member to reap. What does not fit is found again by the next poll.
func (p *reaper) add(service, member string, leaves bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := suspect{service, member}
	if len(p.todo) >= maxTodo && !leaves {
		return
	}
	p.todo[s] = p.todo[s] || leaves
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// maxTodo bounds the members that wait to be reaped.
const maxTodo = 4096

func (p *reaper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for {
			s, leaves, ok := p.next()
			if !ok {
				break
			}
			if err := p.r.reap(ctx, s.service, s.member, leaves); err != nil {
				break // the next poll finds it again
			}
			p.r.watch.touch(s.service)
		}
	}
}

func (p *reaper) next() (s suspect, leaves, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, leaves = range p.todo {
		delete(p.todo, s)
		return s, leaves, true
	}
	return s, false, false
}
