package registry

import (
	"context"
	"fmt"
	"time"
)

// restoreChunk is how many pins one call of the script restore.lua writes: Redis
// serves nobody else meanwhile.
const restoreChunk = 500

// join starts a generation and writes the pins that this node remembers into it.
// If it fails, calling it again goes on where it stopped.
//
// It is the one answer to everything that may have gone wrong with the one before:
// data was lost (FLUSHALL, the tail of a failed primary), others declared this node
// dead, or an exchange of unknown outcome had another one than was thought.
func (l *lane) join(ctx context.Context) error {
	if l.next == "" {
		l.next = gatewayMember(l.r.cfg.Self, l.r.generation.Add(1)).String()
		l.mu.Lock()
		l.set.restart()
		l.todo = make([]pinned, 0, len(l.set.settled))
		for socket, at := range l.set.settled {
			l.todo = append(l.todo, pinned{socket, at})
		}
		l.mu.Unlock()
	}
	k := l.keys
	c := &call{
		script: scriptJoin,
		keys:   []string{k.leases, k.clock, k.checksums, k.version, k.dead},
		args:   []any{l.next, l.member, ms(l.r.cfg.LeaseTTL), l.r.keys.events(), l.service},
	}
	if err := l.r.exec(ctx, c); err != nil {
		return err
	}
	if text(at(c.reply, 0)) == "superseded" {
		return fmt.Errorf("%w (%s)", ErrSuperseded, text(at(c.reply, 1)))
	}
	total, renewed := len(l.todo), time.Now()
	for len(l.todo) > 0 {
		n := min(restoreChunk, len(l.todo))
		again, err := l.restore(ctx, l.todo[:n])
		if err != nil {
			return err
		}
		if again {
			l.next = "" // fenced while it was written
			return nil
		}
		l.todo = l.todo[n:]
		if time.Since(renewed) > l.r.cfg.Tick {
			renewed = time.Now()
			if err := l.r.exec(ctx, l.r.beatCall(k, l.next, "", "")); err != nil {
				return err
			}
		}
	}
	if l.member != "" {
		l.r.reaper.add(l.service, l.member, false)
		l.r.log.Warn("wrote the pins of this node again", "service", l.service, "cause", l.cause, "pins", total, "generation", l.next)
	}
	l.member, l.next, l.todo, l.joined, l.beatDue = l.next, "", nil, true, false
	l.r.cfg.Hooks.Joined(l.service, KindGateway, l.cause, total)
	return nil
}

// restore writes a few pins. It reports whether the generation has no lease any
// more.
func (l *lane) restore(ctx context.Context, pins []pinned) (fenced bool, err error) {
	k := l.keys
	args := make([]any, 0, 1+2*len(pins))
	args = append(args, l.next)
	for _, p := range pins {
		args = append(args, string(p.socket), p.instance.String())
	}
	before := k.pinsOf(l.next)
	if l.member != "" {
		before = k.pinsOf(l.member)
	}
	c := &call{
		script: scriptRestore,
		keys:   []string{k.instances, k.counts, k.leases, k.checksums, k.pinsOf(l.next), before},
		args:   args, n: len(pins),
	}
	if err := l.r.exec(ctx, c); err != nil {
		return false, err
	}
	return text(at(c.reply, 0)) == "fenced", nil
}

// beatCall renews the lease of member: an instance with its entry as state, or a
// gateway with its number of pins ("" to compare nothing) and their checksum.
func (r *Registry) beatCall(k serviceKeys, member, state, sum string) *call {
	hash := k.instances // any key of the slot, for an instance
	if member[:len(gatewayPrefix)] == gatewayPrefix {
		hash = k.pinsOf(member)
	}
	return &call{
		script: scriptBeat,
		keys:   []string{k.instances, k.leases, k.clock, k.checksums, k.dead, hash},
		args:   []any{member, ms(r.cfg.LeaseTTL), state, sum}, n: 1,
	}
}
