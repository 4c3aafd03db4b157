package push

import (
	"maps"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// watches are the groups that somebody on this node watches.
type watches struct {
	hub *Hub

	mu     sync.Mutex
	groups map[string]*watched // guarded by mu
}

// watched is what this node knows of a group that is watched here: for each gateway,
// who of it is in the group. Every event is a difference of two states of this, so that
// nobody leaves twice, whatever is heard twice, or of two gateways.
type watched struct {
	hub   *Hub
	group string

	mu       sync.Mutex
	watchers map[*watcher]struct{}            // guarded by mu
	hosts    map[wire.Incarnation]*host       // guarded by mu: the living gateways
	loading  int                              // guarded by mu: how many of them have not told all
	loaded   *shown                           // is done when there was none of these
	patience *time.Timer                      // immutable: of the wait for them
	before   map[wire.SocketID]PresenceMember // guarded by mu: of those who changed, how they were told; no socket: they were not
	timer    *time.Timer                      // guarded by mu: of the next event; nil if none is due
	due      time.Time                        // guarded by mu: of timer
	told     time.Time                        // guarded by mu: when the last change was told
}

// host is who of one gateway is in a group.
type host struct {
	members map[wire.SocketID]PresenceMember
	told    bool                       // it has told all once
	seen    map[wire.SocketID]struct{} // while it tells all: who was told; else nil
}

func (t *watches) init(h *Hub) {
	t.hub, t.groups = h, map[string]*watched{}
	h.registry.OnChange(func(old, now *registry.View) {
		same := func(_, _ []string) bool { return true }
		if !maps.EqualFunc(old.Gateways, now.Gateways, same) {
			t.refresh()
		}
	})
}

// add lets somebody watch a group.
func (t *watches) add(group string, w *watcher) *shown {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[group]
	if g == nil {
		g = &watched{
			hub: t.hub, group: group, loaded: newShown(),
			watchers: map[*watcher]struct{}{}, hosts: map[wire.Incarnation]*host{}, before: map[wire.SocketID]PresenceMember{},
		}
		t.groups[group] = g
		g.patience = time.AfterFunc(presenceLoad, g.load)
		g.refresh(t.hub.registry.View())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.owed = time.Now().Add(presenceDelay)
	g.watchers[w] = struct{}{}
	g.schedule()
	return g.loaded
}

// remove ends that.
func (t *watches) remove(group string, w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[group]
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watchers, w)
	if len(g.watchers) > 0 {
		return
	}
	delete(t.groups, group)
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	g.patience.Stop()
	g.loaded.end(errLeft)
	for peer := range g.hosts {
		t.hub.outboxes.watch(peer, group)
	}
}

// refresh looks at which gateways live.
func (t *watches) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	view := t.hub.registry.View()
	for _, g := range t.groups {
		g.refresh(view)
	}
}

// again watches all groups at a gateway once more: it may have forgotten that.
func (t *watches) again(peer wire.Incarnation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for group, g := range t.groups {
		if g.hosted(peer) {
			t.hub.outboxes.watch(peer, group)
		}
	}
}

// wants reports whether this node wants a gateway to tell of a group.
func (t *watches) wants(peer wire.Incarnation, group string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[group]
	return g != nil && g.hosted(peer)
}

// heard takes what a gateway tells of a group.
func (t *watches) heard(from wire.Incarnation, p wire.Presence) {
	t.mu.Lock()
	g := t.groups[p.Group]
	t.mu.Unlock()
	if g != nil {
		g.heard(from, p)
	}
}

func (g *watched) hosted(peer wire.Incarnation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hosts[peer] != nil
}

// refresh notes which gateways live. Those of the others have left.
func (g *watched) refresh(view *registry.View) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for peer := range view.Gateways {
		if g.hosts[peer] == nil {
			g.hosts[peer] = &host{members: map[wire.SocketID]PresenceMember{}}
			g.loading++
			g.hub.outboxes.watch(peer, g.group)
		}
	}
	for peer, h := range g.hosts {
		if _, lives := view.Gateways[peer]; lives {
			continue
		}
		for id := range h.members {
			h.leave(g, id)
		}
		g.toldAll(h)
		delete(g.hosts, peer)
	}
	g.schedule()
}

// heard takes what a gateway tells.
func (g *watched) heard(from wire.Incarnation, p wire.Presence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hosts[from]
	if h == nil {
		return
	}
	if p.First {
		h.seen = map[wire.SocketID]struct{}{}
	}
	for _, m := range p.Joined {
		h.join(g, m)
	}
	for _, id := range p.Left {
		h.leave(g, id)
	}
	if p.Last {
		for id := range h.members {
			if _, ok := h.seen[id]; !ok {
				h.leave(g, id)
			}
		}
		h.seen = nil
		g.toldAll(h)
	}
	g.schedule()
}

// join notes a member. g.mu is held.
func (h *host) join(g *watched, p wire.Present) {
	if h.seen != nil {
		h.seen[p.Socket] = struct{}{}
	}
	now := PresenceMember{Socket: string(p.Socket), User: p.User, Since: time.UnixMilli(int64(p.SinceMS)).UTC()}
	if have := h.members[p.Socket]; have != now {
		g.note(p.Socket, have)
		h.members[p.Socket] = now
	}
}

// leave notes that somebody is no member. g.mu is held.
func (h *host) leave(g *watched, id wire.SocketID) {
	if have, ok := h.members[id]; ok {
		g.note(id, have)
		delete(h.members, id)
	}
}

// note remembers how a member was told of before it changed. mu is held.
func (g *watched) note(id wire.SocketID, was PresenceMember) {
	if _, ok := g.before[id]; !ok {
		g.before[id] = was
	}
}

// toldAll notes that a gateway has told all, or never will. mu is held.
func (g *watched) toldAll(h *host) {
	if h.told {
		return
	}
	h.told = true
	if g.loading--; g.loading <= 0 {
		g.loaded.end(nil)
	}
}

// load stops waiting for gateways that have told nothing.
func (g *watched) load() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded.end(nil)
	g.schedule()
}
