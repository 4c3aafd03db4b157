package push

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// outboxes are what other nodes have to be told about presence: which groups are
// watched here, and who is in the groups that they watch. What they are told is how
// things are when it is sent, so that a peer that does not keep up costs no more
// memory than there are members, and no goroutine runs while there is nothing to tell.
type outboxes struct {
	hub *Hub

	mu    sync.Mutex
	boxes map[wire.Incarnation]*outbox // guarded by mu: those that a goroutine empties
}

// outbox is what one peer has to be told. It is guarded by outboxes.mu.
type outbox struct {
	watches map[string]struct{} // groups to watch there, or not any more
	groups  map[string]*news    // groups that it watches
}

// news is what of a group has to be told.
type news struct {
	all     bool // who is in it
	changed map[*Member]struct{}
}

// retryWatch is how long a node waits before it asks again, at a link that is being
// reset.
const retryWatch = 50 * time.Millisecond

func (o *outboxes) init(h *Hub) { o.hub, o.boxes = h, map[wire.Incarnation]*outbox{} }

// put changes an outbox and has it emptied.
func (o *outboxes) put(peer wire.Incarnation, change func(*outbox)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.boxes[peer]
	if b == nil {
		b = &outbox{}
		o.boxes[peer] = b
		go o.empty(peer, b)
	}
	change(b)
}

// watch has a gateway told whether this node watches a group.
func (o *outboxes) watch(peer wire.Incarnation, group string) {
	o.put(peer, func(b *outbox) {
		if b.watches == nil {
			b.watches = map[string]struct{}{}
		}
		b.watches[group] = struct{}{}
	})
}

// all has a peer told who is in a group here; changed, whether one socket is.
func (o *outboxes) all(peer wire.Incarnation, group string) {
	o.put(peer, func(b *outbox) { b.news(group).all = true })
}

func (o *outboxes) changed(peer wire.Incarnation, group string, m *Member) {
	o.put(peer, func(b *outbox) {
		n := b.news(group)
		if n.changed == nil {
			n.changed = map[*Member]struct{}{}
		}
		n.changed[m] = struct{}{}
	})
}

func (b *outbox) news(group string) *news {
	if b.groups == nil {
		b.groups = map[string]*news{}
	}
	n := b.groups[group]
	if n == nil {
		n = &news{}
		b.groups[group] = n
	}
	return n
}

// empty tells a peer what there is to tell, until nothing is left.
func (o *outboxes) empty(peer wire.Incarnation, b *outbox) {
	for {
		o.mu.Lock()
		now := *b
		*b = outbox{}
		if now.watches == nil && now.groups == nil {
			delete(o.boxes, peer)
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		for group := range now.watches {
			o.sendWatch(peer, group)
		}
		for group, n := range now.groups {
			o.sendNews(peer, group, n)
		}
	}
}

func (o *outboxes) sendWatch(peer wire.Incarnation, group string) {
	on := o.hub.watches.wants(peer, group)
	err := o.send(peer, wire.KindWatch, wire.Watch{Group: group, On: on}.Append(nil))
	if err == nil || !on || errors.Is(err, link.ErrGone) || !errors.Is(err, link.ErrReset) {
		return
	}
	time.AfterFunc(retryWatch, func() {
		if o.hub.watches.wants(peer, group) {
			o.watch(peer, group)
		}
	})
}

// sendNews tells a peer of members. On an error it has forgotten that it watches the
// group here, or will ask again.
func (o *outboxes) sendNews(peer wire.Incarnation, group string, n *news) {
	present, left := o.hub.index.present(roomKey{wire.TargetGroup, group}, n)
	frames := []wire.Presence{}
	if n.all {
		frames = snapshot(group, present)
	} else {
		for part := range slices.Chunk(present, MaxListed) {
			frames = append(frames, wire.Presence{Group: group, Joined: part})
		}
		for part := range slices.Chunk(left, MaxListed) {
			frames = append(frames, wire.Presence{Group: group, Left: part})
		}
	}
	for _, f := range frames {
		if o.send(peer, wire.KindPresence, f.Append(nil)) != nil {
			return
		}
	}
}

func (o *outboxes) send(peer wire.Incarnation, kind wire.Kind, body []byte) error {
	return o.hub.bp.SendFrame(context.Background(), peer, kind, 0, body)
}

// watch takes a node's wish to be told of a group.
func (h *Hub) watch(from wire.Incarnation, _ wire.StreamID, body []byte) {
	w, err := wire.ParseWatch(body)
	if err != nil {
		h.log.Load().Error("a node's wish to watch a group cannot be read", "from", from, "err", err)
		return
	}
	h.index.feed(roomKey{wire.TargetGroup, w.Group}, from, w.On)
	if w.On {
		h.outboxes.all(from, w.Group)
	}
}

// presence takes what a gateway tells of a group.
func (h *Hub) presence(from wire.Incarnation, _ wire.StreamID, body []byte) {
	p, err := wire.ParsePresence(body)
	if err != nil {
		h.log.Load().Error("what a node tells of a group cannot be read", "from", from, "err", err)
		return
	}
	h.watches.heard(from, p)
}

// feed notes whether a node watches a group.
func (x *index) feed(k roomKey, peer wire.Incarnation, on bool) {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		if delete(s.feeds[k], peer); len(s.feeds[k]) == 0 {
			delete(s.feeds, k)
		}
		return
	}
	if s.feeds[k] == nil {
		s.feeds[k] = map[wire.Incarnation]struct{}{}
	}
	s.feeds[k][peer] = struct{}{}
}

// unfeed forgets what a node watches.
func (x *index) unfeed(peer wire.Incarnation) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		maps.DeleteFunc(s.feeds, func(_ roomKey, peers map[wire.Incarnation]struct{}) bool {
			delete(peers, peer)
			return len(peers) == 0
		})
		s.mu.Unlock()
	}
}

// changed has those who watch a room told of a member. The shard's mu is held.
func (x *index) changed(s *shard, k roomKey, m *Member) {
	for peer := range s.feeds[k] {
		x.hub.outboxes.changed(peer, k.name, m)
	}
}

// touch has those who watch a room told of a member whose user has changed.
func (x *index) touch(k roomKey, m *Member) {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	x.changed(s, k, m)
}

// present lists, of all members of a room or of those who changed, who is in it, and
// who is not.
func (x *index) present(k roomKey, n *news) (in []wire.Present, out []wire.SocketID) {
	since := map[*Member]int64{}
	s := x.shard(k)
	s.mu.Lock()
	if r := s.rooms[k]; r != nil {
		if n.all {
			maps.Copy(since, r.members)
		} else {
			for m := range n.changed {
				if at, ok := r.members[m]; ok {
					since[m] = at
				}
			}
		}
	}
	s.mu.Unlock()
	for m, at := range since {
		in = append(in, wire.Present{Socket: m.receiver.SocketID(), User: m.User(), SinceMS: uint64(at)})
	}
	for m := range n.changed {
		if _, ok := since[m]; !ok && !n.all {
			out = append(out, m.receiver.SocketID())
		}
	}
	return in, out
}
