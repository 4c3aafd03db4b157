package registry

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// gatewayNames writes the names of this node's gateways as Redis has them.
func (r *Registry) gatewayNames() string {
	return strings.Join(slices.Sorted(maps.Keys(r.names)), ",")
}

// startRoster makes this node a gateway in the registry, or changes its names.
// membership is held.
func (r *Registry) startRoster() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.roster == nil && !r.ended {
		r.roster = newRoster(r)
		r.roster.names = r.gatewayNames()
		if r.spawn != nil {
			r.spawn(r.roster.run)
		}
	}
	if r.roster != nil {
		r.roster.setNames(r.gatewayNames())
	}
}

// endRoster takes this node out of the registry as a gateway. membership is held.
func (r *Registry) endRoster(ctx context.Context) error {
	r.mu.Lock()
	l, running := r.roster, r.spawn != nil
	r.roster = nil
	r.mu.Unlock()
	if l == nil {
		return nil
	}
	l.close()
	if !running {
		return nil
	}
	<-l.ended
	if l.member == "" {
		return nil
	}
	err := r.persist(ctx, func(ctx context.Context) error { return r.reapGateway(ctx, l.member, true) })
	r.watch.touch(gatewaysEntry)
	return err
}

// reapGateway removes a gateway's generation whose lease has expired, or, if it
// leaves, at once, with all its entries.
func (r *Registry) reapGateway(ctx context.Context, name string, leaves bool) error {
	m, err := parseMember(name)
	if err != nil || m.kind != KindGateway {
		return nil //nolint:nilerr // not ours: leave it alone
	}
	k, force, cursor, removed := r.keys.gateways(), "0", "", 0
	if leaves {
		force = "1"
	}
	var done []string
	for {
		args := []any{name, force, ms(r.cfg.LeaseTTL), r.keys.events(), gatewaysEntry, ms(rememberGateways), reapChunk, m.incarnation.String(), cursor}
		for _, id := range done {
			args = append(args, id)
		}
		c := &call{
			script: scriptIndexReap,
			keys:   []string{k.leases, k.clock, k.checksums, k.version, k.dead, k.pinsOf(name), k.instances},
			args:   args, n: 1,
		}
		if err := r.exec(ctx, c); err != nil {
			return err
		}
		reply := texts(c.reply)
		switch reply[0] {
		case "more":
		case "done":
			r.cfg.Hooks.Reaped(gatewaysEntry, KindGateway, removed)
			return nil
		default: // alive, gone
			return nil
		}
		if cursor == "" {
			calls := make([]*call, shelves)
			for n := range calls {
				calls[n] = r.markCall(m, "gone", n, 0, 0)
			}
			if err := r.exec(ctx, calls...); err != nil {
				return err
			}
		}
		cursor, done = reply[1], reply[2:]
		removed += len(done)
		if err := r.unhost(ctx, m, done); err != nil {
			return err
		}
	}
}

// unhost removes entries of a generation.
func (r *Registry) unhost(ctx context.Context, m member, ids []string) error {
	for chunk := range slices.Chunk(ids, rosterBatch) {
		calls := make([]*call, len(chunk))
		for n, id := range chunk {
			calls[n] = r.hostCall(Audience(id), m, "", "reap", 0)
		}
		if err := r.exec(ctx, calls...); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphans removes, from entries that were read and from Redis, those of
// generations without a lease. A generation has its lease before its first entry and
// until the last is reaped. Only one that lost lease and index with Redis's data, or
// was reaped while an exchange was on its way, can have entries that nobody reaps; if
// it lives, the next generation writes them again.
func (r *Registry) removeOrphans(ctx context.Context, a Audience, entries map[member]Hosting) error {
	members := slices.Collect(maps.Keys(entries))
	c := &call{script: scriptLeased, keys: []string{r.keys.gateways().leases}, n: len(members)}
	for _, m := range members {
		c.args = append(c.args, m.String())
	}
	if err := r.exec(ctx, c); err != nil {
		return err
	}
	for n, leased := range texts(c.reply) {
		if leased == "1" {
			continue
		}
		delete(entries, members[n])
		if err := r.unhost(ctx, members[n], []string{string(a)}); err != nil {
			return err
		}
	}
	return nil
}
