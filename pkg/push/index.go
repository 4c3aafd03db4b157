package push

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// index is which sockets of this node belong to which user and group.
type index struct {
	hub    *Hub
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu    sync.Mutex
	rooms map[roomKey]*room                         // guarded by mu
	feeds map[roomKey]map[wire.Incarnation]struct{} // guarded by mu: nodes that watch a group
}

type roomKey struct {
	kind wire.TargetKind // TargetUser or TargetGroup
	name string
}

// room is one user or group that has members here. It is guarded by its shard's mu.
type room struct {
	audience registry.Audience
	members  map[*Member]int64 // since when, in ms since 1970
	since    time.Time
	shown    *shown
}

// shown tells when every push that begins finds an audience on this node.
type shown struct {
	once sync.Once
	done chan struct{}
	err  error // set before done is closed
}

func newShown() *shown { return &shown{done: make(chan struct{})} }

func (s *shown) end(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.done)
	})
}

// Done is closed when it is so, or Err says why it never will be.
func (s *shown) Done() <-chan struct{} { return s.done }

func (x *index) init() {
	x.seed = maphash.MakeSeed()
	for i := range x.shards {
		x.shards[i].rooms = map[roomKey]*room{}
		x.shards[i].feeds = map[roomKey]map[wire.Incarnation]struct{}{}
	}
}

func (x *index) shard(k roomKey) *shard {
	return &x.shards[maphash.Comparable(x.seed, k)%uint64(len(x.shards))]
}

// add puts a member into a room.
func (x *index) add(k roomKey, m *Member) *shown {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[k]
	var seen func([]registry.Watcher, error)
	if r == nil {
		r = &room{members: map[*Member]int64{}, since: time.Now(), shown: newShown(), audience: audienceOf(k)}
		s.rooms[k] = r
		seen = x.hub.shower(r.audience, r.shown)
	}
	if _, ok := r.members[m]; !ok {
		r.members[m] = time.Now().UnixMilli()
		x.changed(s, k, m)
	}
	x.hub.registry.Host(r.audience, r.hosting(), seen)
	return r.shown
}

// drop takes a member out of a room.
func (x *index) drop(k roomKey, m *Member) {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[k]
	if r == nil {
		return
	}
	if _, ok := r.members[m]; ok {
		delete(r.members, m)
		x.changed(s, k, m)
	}
	if len(r.members) == 0 {
		delete(s.rooms, k)
		r.shown.end(errLeft)
	}
	x.hub.registry.Host(r.audience, r.hosting(), nil)
}

var errLeft = errors.New("the last member left meanwhile")

func (r *room) hosting() registry.Hosting {
	return registry.Hosting{Members: len(r.members), Since: r.since}
}

// receivers appends those in a room to list.
func (x *index) receivers(k roomKey, list []Receiver) []Receiver {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[k]; r != nil {
		list = slices.Grow(list, len(r.members))
		for m := range r.members {
			list = append(list, m.receiver)
		}
	}
	return list
}

// since returns since when a room has members here.
func (x *index) since(k roomKey) time.Time {
	s := x.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[k]; r != nil {
		return r.since
	}
	return time.Time{}
}

func audienceOf(k roomKey) registry.Audience {
	if k.kind == wire.TargetUser {
		return registry.UserAudience(k.name)
	}
	return registry.GroupAudience(k.name)
}

// Member is what users and groups a socket belongs to.
type Member struct {
	hub      *Hub
	receiver Receiver

	mu     sync.Mutex
	user   string   // guarded by mu
	groups []string // guarded by mu, sorted
	ended  bool     // guarded by mu

	watches map[string]*watcher // guarded by mu: groups that it is told of
}

// NewMember makes a socket one that can belong to a user and to groups. It belongs to
// none yet.
func (h *Hub) NewMember(r Receiver) *Member { return &Member{hub: h, receiver: r} }

// MaxGroups is how many groups one socket may be in.
const MaxGroups = 1024

var (
	errEnded  = errors.New("the socket has ended")
	errGroups = fmt.Errorf("the socket is in %d groups; that is the limit", MaxGroups)
)

// Join puts the socket into a group. Pushes that find this node reach it when Join
// returns; every push does when the result is done.
func (m *Member) Join(group string) (Shown, error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil, errEnded
	}
	if at, ok := slices.BinarySearch(m.groups, group); !ok {
		if len(m.groups) >= MaxGroups {
			return nil, errGroups
		}
		m.groups = slices.Insert(m.groups, at, group)
	}
	return m.hub.index.add(roomKey{wire.TargetGroup, group}, m), nil
}

// Leave takes the socket out of a group.
func (m *Member) Leave(group string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := slices.BinarySearch(m.groups, group); ok {
		m.groups = slices.Delete(m.groups, at, at+1)
		m.hub.index.drop(roomKey{wire.TargetGroup, group}, m)
	}
}

// SetUser makes the socket one of a user's; "" one of nobody's. The result is as that
// of Join; nil for nobody.
func (m *Member) SetUser(user string) (Shown, error) {
	if user != "" {
		if err := checkName(user); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil, errEnded
	}
	if m.user != user && m.user != "" {
		m.hub.index.drop(roomKey{wire.TargetUser, m.user}, m)
	}
	if m.user != user {
		m.user = user
		for _, g := range m.groups {
			m.hub.index.touch(roomKey{wire.TargetGroup, g}, m)
		}
	}
	if user == "" {
		return nil, nil
	}
	return m.hub.index.add(roomKey{wire.TargetUser, user}, m), nil
}

// User is the socket's user; "" for nobody.
func (m *Member) User() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user
}

// Groups are the groups that the socket is in, sorted.
func (m *Member) Groups() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.groups)
}

// End takes the socket out of everything, for good.
func (m *Member) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.user != "" {
		m.hub.index.drop(roomKey{wire.TargetUser, m.user}, m)
	}
	for _, g := range m.groups {
		m.hub.index.drop(roomKey{wire.TargetGroup, g}, m)
	}
	for g, w := range m.watches {
		m.hub.watches.remove(g, w)
	}
	m.user, m.groups, m.watches = "", nil, nil
}

// Shown tells when what a socket joined is known everywhere.
type Shown interface {
	// Done is closed when every push that begins finds the socket, or when Err says
	// why that will not be.
	Done() <-chan struct{}
	Err() error
}

// Err says, when Done is closed, why the audience will not be found.
func (s *shown) Err() error {
	if s.over() {
		return s.err
	}
	return nil
}

// over reports whether Done is closed.
func (s *shown) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// checkName reports why a user or group cannot have a name.
func checkName(name string) error {
	if name == "" || len(name) > wire.MaxTargetName {
		return fmt.Errorf("a name of %d bytes; allowed are 1 to %d", len(name), wire.MaxTargetName)
	}
	return nil
}
