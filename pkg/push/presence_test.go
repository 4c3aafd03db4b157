package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// ledger keeps what a watcher was told, and whether it makes sense: nobody joins who is
// there, or leaves who is not.
type ledger struct {
	testing.TB
	mu           sync.Mutex
	states       int                            // guarded by mu
	there        map[string]push.PresenceMember // guarded by mu
	joins, leave map[string]int                 // guarded by mu, by socket
	count        int                            // guarded by mu
}

func newLedger(tb testing.TB) *ledger {
	return &ledger{TB: tb, there: map[string]push.PresenceMember{}, joins: map[string]int{}, leave: map[string]int{}}
}

func (l *ledger) take(e push.PresenceEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Event == push.EventState {
		l.states++
		clear(l.there)
		for _, m := range e.Members {
			l.there[m.Socket] = m
		}
	}
	for _, m := range e.Left {
		if _, ok := l.there[m.Socket]; !ok {
			l.Errorf("%s leaves, who is not there", m.Socket)
		}
		delete(l.there, m.Socket)
		l.leave[m.Socket]++
	}
	for _, m := range e.Joined {
		if _, ok := l.there[m.Socket]; ok {
			l.Errorf("%s joins, who is there", m.Socket)
		}
		l.there[m.Socket] = m
		l.joins[m.Socket]++
	}
	if l.count = e.Count; l.states == 0 {
		l.Errorf("the first event is %+v", e)
	}
}

// has reports whether exactly these sockets are there.
func (l *ledger) has(sockets ...string) func() bool {
	slices.Sort(sockets)
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.states > 0 && l.count == len(sockets) && slices.Equal(slices.Sorted(maps.Keys(l.there)), sockets)
	}
}

func (l *ledger) left(socket string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leave[socket]
}

func (w *world) watch(hub *push.Hub, group string) *ledger {
	w.Helper()
	l := newLedger(w)
	stop, err := hub.WatchGroup(group, l.take)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(stop)
	return l
}

// TestWatch: who watches a group on whatever node learns who is there, who joins and who
// leaves, once each: on a leave, an end, a crash of a gateway and a new user.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
	w.chat("chat-1")
	a.routed("/join")
	b.routed("/join")
	alice := a.dial().login("alice").join("room")
	elsewhere := w.watch(push.Of(w.node("backend")), "room")
	here := w.watch(push.Of(a.bp), "room")
	both := func(what string, sockets ...string) {
		t.Helper()
		for name, l := range map[string]*ledger{"a backend": elsewhere, "a gateway": here} {
			w.eventually(name+" sees that "+what, l.has(sockets...))
		}
	}
	both("alice is there", alice.id)
	elsewhere.mu.Lock()
	m := elsewhere.there[alice.id]
	elsewhere.mu.Unlock()
	if m.User != "alice" || m.Since.IsZero() {
		t.Errorf("alice is %+v", m)
	}
	bob, carol := b.dial().join("room"), b.dial().join("room")
	both("bob and carol came", alice.id, bob.id, carol.id)
	bob.login("bob")
	w.eventually("bob has a name", func() bool {
		here.mu.Lock()
		defer here.mu.Unlock()
		return here.there[bob.id].User == "bob"
	})
	alice.call("/leave", request{Group: "room"})
	both("alice left", bob.id, carol.id)
	alice.join("room")
	both("alice is back", alice.id, bob.id, carol.id)
	_ = carol.ws.Close()
	both("carol is gone", alice.id, bob.id)

	late := b.dial().join("room")
	both("late came", alice.id, bob.id, late.id)
	c := w.gateway("gw-c", gateway.Config{})
	c.routed("/join")
	dave := c.dial().join("room")
	both("somebody came on a new gateway", alice.id, bob.id, late.id, dave.id)
	b.crash()
	both("the gateway crashed", alice.id, dave.id)
	for _, l := range []*ledger{elsewhere, here} {
		for socket, want := range map[string]int{alice.id: 1, bob.id: 2, carol.id: 1, late.id: 1, dave.id: 0} {
			if got := l.left(socket); got != want {
				t.Errorf("%s left %d times; want %d", socket, got, want)
			}
		}
	}
	if err := redis.Client().FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	eve := a.dial().join("room")
	both("somebody came after the loss of all data", alice.id, dave.id, eve.id)
	c.crash()
	both("another gateway crashed", alice.id, eve.id)
	if n := here.left(dave.id); n != 1 || here.left(alice.id) != 1 {
		t.Errorf("dave left %d times, alice %d", n, here.left(alice.id))
	}
}

// TestWatchGroup: a client that watches gets the state, then changes, in its encoding and
// under its path, until it watches no more.
func TestWatchGroup(t *testing.T) {
	w := newWorld(t)
	a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
	w.chat("chat-1")
	a.routed("/watch")
	b.routed("/watch")
	alice := a.dial().join("room")
	watcher := b.dial()
	watcher.watch("room", "")
	next := func(path string) (e push.PresenceEvent) {
		t.Helper()
		m := watcher.read()
		if err := json.Unmarshal(m.Data, &e); err != nil || m.Path != path {
			t.Fatalf("got %+v, %v; want an event at %s", m, err, path)
		}
		return e
	}
	if e := next("/presence"); e.Event != push.EventState || e.Count != 1 || e.Members[0].Socket != alice.id || e.Group != "room" {
		t.Errorf("the state is %+v", e)
	}
	bob := a.dial().join("room")
	if e := next("/presence"); e.Event != push.EventChange || e.Count != 2 || len(e.Joined) != 1 || e.Joined[0].Socket != bob.id {
		t.Errorf("the change is %+v", e)
	}
	_ = alice.ws.Close()
	if e := next("/presence"); e.Event != push.EventChange || e.Count != 1 || len(e.Left) != 1 || e.Left[0].Socket != alice.id {
		t.Errorf("the change is %+v", e)
	}
	watcher.watch("room", "/who")
	if e := next("/who"); e.Event != push.EventState || e.Count != 1 {
		t.Errorf("the state at another path is %+v", e)
	}
	watcher.call("/unwatch", request{Group: "room"})
	observer := w.watch(push.Of(b.bp), "room")
	carol := a.dial().join("room")
	w.eventually("carol is seen", observer.has(bob.id, carol.id))
	watcher.call("/leave", request{Group: "room"}) // nothing comes before its answer
	watcher.watch("nobody's", "")
	if e := next("/presence"); e.Event != push.EventState || e.Count != 0 || e.Members == nil {
		t.Errorf("the state of an empty group is %+v", e)
	}
}

// TestWatchLargeGroup: what happens in a large group is told in few events, and a state
// lists only so many.
func TestWatchLargeGroup(t *testing.T) {
	const members = push.MaxListed + 500
	w := newWorld(t)
	a := w.node("gw-a")
	if err := a.Registry().JoinGateway(context.Background(), "public"); err != nil {
		t.Fatal(err)
	}
	hub := push.Of(a)
	backend := w.node("backend")
	w.eventually("the gateway is seen", func() bool { return len(backend.Registry().View().Gateways) == 1 })
	l := newLedger(t)
	events := 0 // of l.mu
	stop, err := push.Of(backend).WatchGroup("room", func(e push.PresenceEvent) {
		l.take(e)
		l.mu.Lock()
		events++
		l.mu.Unlock()
		if n := len(e.Members) + len(e.Joined) + len(e.Left); n > push.MaxListed {
			t.Errorf("an event lists %d", n)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	w.eventually("it is empty", l.has())
	all := make([]*push.Member, members)
	var ids []string
	for i := range all {
		ids = append(ids, fmt.Sprintf("s%d.gw-a", i))
		all[i] = hub.NewMember(&sink{wire.SocketID(ids[i])})
		if _, err := all[i].Join("room"); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all are there", l.has(ids...))
	l.mu.Lock()
	if events > members/10 {
		t.Errorf("%d events for %d joins", events, members)
	}
	l.mu.Unlock()

	var first push.PresenceEvent
	told := make(chan push.PresenceEvent, 10)
	stopSecond, err := push.Of(w.node("second")).WatchGroup("room", func(e push.PresenceEvent) { told <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer stopSecond()
	if first = <-told; len(first.Members) != push.MaxListed || !first.More || first.Count != members {
		t.Errorf("the state of a large group lists %d of %d, more: %v", len(first.Members), first.Count, first.More)
	}
	for _, m := range all {
		m.End()
	}
	w.eventually("all are gone", l.has())
	for _, id := range ids {
		if l.left(id) != 1 {
			t.Fatalf("%s left %d times", id, l.left(id))
		}
	}
}

// TestWatchSurvivesResets: a link that breaks takes what a gateway has told with it, and
// also that somebody watches. Both are made up for, and nobody joins or leaves twice.
func TestWatchSurvivesResets(t *testing.T) {
	w := newWorld(t)
	impatient := func(cfg *backplane.Config) { cfg.Link.ResetAfter = 300 * time.Millisecond }
	host, backend := w.node("gw-a", impatient), w.node("backend", impatient)
	if err := host.Registry().JoinGateway(context.Background(), "public"); err != nil {
		t.Fatal(err)
	}
	reset := make(chan struct{}, 10)
	host.OnReset(func(wire.Incarnation, link.Reset) { reset <- struct{}{} })
	w.eventually("the gateway is seen", func() bool { return len(backend.Registry().View().Gateways) == 1 })
	l := w.watch(push.Of(backend), "room")
	member := func(id wire.SocketID) *push.Member {
		t.Helper()
		m := push.Of(host).NewMember(&sink{id})
		if _, err := m.Join("room"); err != nil {
			t.Fatal(err)
		}
		return m
	}
	stays, leaves := member("stays.gw-a"), member("leaves.gw-a")
	w.eventually("both are there", l.has("stays.gw-a", "leaves.gw-a"))

	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	leaves.End()
	comes := member("comes.gw-a")
	<-reset
	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	w.eventually("what happened meanwhile is seen", l.has("stays.gw-a", "comes.gw-a"))
	stays.End()
	comes.End()
	w.eventually("what happens after it is seen", l.has())
	for _, id := range []string{"stays.gw-a", "leaves.gw-a", "comes.gw-a"} {
		if l.left(id) != 1 {
			t.Errorf("%s left %d times", id, l.left(id))
		}
	}
}

// sluggish is a receiver that takes nothing while it is slow.
type sluggish struct {
	sink
	slow    atomic.Bool
	got     chan push.PresenceEvent
	refused chan struct{}
	tb      testing.TB
}

func (s *sluggish) Push(_ *push.Delivery, message []byte) push.Outcome {
	if s.slow.Load() {
		s.refused <- struct{}{}
		return push.Slow
	}
	var m struct{ Data push.PresenceEvent }
	if err := json.Unmarshal(message, &m); err != nil {
		s.tb.Errorf("%s: %v", message, err)
	}
	s.got <- m.Data
	return push.Delivered
}

// TestSlowWatcher: a client that took no event gets the state when it does again.
func TestSlowWatcher(t *testing.T) {
	w := newWorld(t)
	host := w.node("gw-a")
	if err := host.Registry().JoinGateway(context.Background(), "public"); err != nil {
		t.Fatal(err)
	}
	hub := push.Of(host)
	r := &sluggish{sink: sink{"watcher.gw-a"}, got: make(chan push.PresenceEvent, 10), refused: make(chan struct{}, 10), tb: t}
	watcher := hub.NewMember(r)
	if _, err := watcher.Watch("room", ""); err != nil {
		t.Fatal(err)
	}
	if e := <-r.got; e.Event != push.EventState || e.Count != 0 {
		t.Errorf("the first event is %+v", e)
	}
	r.slow.Store(true)
	m := hub.NewMember(&sink{"s.gw-a"})
	if _, err := m.Join("room"); err != nil {
		t.Fatal(err)
	}
	<-r.refused
	r.slow.Store(false)
	if e := <-r.got; e.Event != push.EventState || e.Count != 1 || e.Members[0].Socket != "s.gw-a" {
		t.Errorf("the event after the one that was dropped is %+v", e)
	}
	m.End()
	if e := <-r.got; e.Event != push.EventChange || e.Count != 0 || len(e.Left) != 1 {
		t.Errorf("the next event is %+v", e)
	}
	watcher.End()
}

// TestWatchRefuses: what cannot be watched.
func TestWatchRefuses(t *testing.T) {
	w := newWorld(t)
	hub := push.Of(w.node("gw-a"))
	m := hub.NewMember(&sink{"s.gw-a"})
	if _, err := m.Watch("", ""); err == nil {
		t.Error("a group without a name is watched")
	}
	if _, err := hub.WatchGroup("", func(push.PresenceEvent) {}); err == nil {
		t.Error("a group without a name is watched by a node")
	}
	for i := range push.MaxGroups {
		if _, err := m.Watch(fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Watch("one more", ""); err == nil {
		t.Error("a socket watches any number of groups")
	}
	m.End()
	if _, err := m.Watch("room", ""); err == nil {
		t.Error("a socket that has ended watches")
	}
	if _, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("0")}); err != nil {
		t.Error(err)
	}
}
