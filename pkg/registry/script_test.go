package registry

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// single is one service whose nodes do only what the test tells them to.
type single struct {
	t         *testing.T
	client    *redis.Client
	namespace string
	keys      serviceKeys
}

func newSingle(t *testing.T, client *redis.Client) *single {
	namespace := freshNamespace()
	return &single{t, client, namespace, newKeyspace(namespace).service(chat.Name)}
}

func (s *single) node(self wire.Incarnation, hooks Hooks) *Registry {
	s.t.Helper()
	r, err := New(Config{Client: s.client, Namespace: s.namespace, Self: self, LeaseTTL: modelTTL, CallTimeout: soon, Hooks: hooks})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *single) instance(name string) *Registry {
	s.t.Helper()
	r := s.node(inc(name, 1), Hooks{})
	s.must(r.announceInstance(context.Background(), &instance{service: chat, state: StateServing}))
	return r
}

// lane has a gateway with so many pins.
func (s *single) lane(pins int, hooks Hooks) *lane {
	s.t.Helper()
	l := newLane(s.node(inc("g", 1), hooks), chat.Name)
	for i := range pins {
		l.pin(wire.SocketID(fmt.Sprint("s", i)), newWaiter())
	}
	s.must(l.work(context.Background(), nil))
	return l
}

func (s *single) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// set changes what Redis has, in a way that only the clock, or a fault, could.
func (s *single) setLease(member string, deadline float64) {
	s.t.Helper()
	s.must(s.client.ZAdd(context.Background(), s.keys.leases, redis.Z{Score: deadline, Member: member}).Err())
}

func (s *single) audit() audit {
	s.t.Helper()
	a, err := readAudit(context.Background(), s.client, s.keys, nil)
	s.must(err)
	return a
}

// TestChoice checks which instances a pin avoids, and that it takes the best of
// those if there are no others.
func TestChoice(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		s := newSingle(t, client)
		a, b, c := s.instance("a"), s.instance("b"), s.instance("c")
		l := s.lane(4, Hooks{}) // a has 2, b and c have 1
		clock := float64(number(client.HGet(context.Background(), s.keys.clock, "clock").Val()))
		half := float64(modelTTL.Milliseconds() / 2)
		stale := func(r *Registry) { s.setLease(instanceMember(r.cfg.Self).String(), clock+half-1000) }
		next := 100
		pinTo := func(want *Registry, why string) {
			t.Helper()
			next++
			w := newWaiter()
			l.pin(wire.SocketID(fmt.Sprint("s", next)), w)
			s.must(l.work(context.Background(), nil))
			if got := <-w.done; got.instance != want.cfg.Self {
				t.Errorf("%s: pinned to %v; want %v", why, got.instance, want.cfg.Self)
			}
		}
		s.must(client.HSet(context.Background(), s.keys.clock, "hold", 0).Err())
		pinTo(b, "the first by name of those with 1")
		pinTo(c, "the only one with 1")
		stale(a)
		pinTo(b, "a has 2 like the others, but has not renewed for half a TTL")
		pinTo(c, "the same")
		stale(b)
		stale(c)
		pinTo(a, "nobody has renewed; a has the fewest")
		pinTo(a, "all have 3; a is the first")
		mustHold(t, client, s.namespace)
	})
}

// TestRestore restores pins over what Redis has of the generation before, twice,
// and without a lease.
func TestRestore(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		ctx := context.Background()
		s := newSingle(t, client)
		a, b := s.instance("a"), s.instance("b")
		l := s.lane(2, Hooks{})
		l.next = gatewayMember(l.r.cfg.Self, 99).String()
		s.must(l.r.exec(ctx, &call{
			script: scriptJoin, keys: []string{s.keys.leases, s.keys.clock, s.keys.checksums, s.keys.version, s.keys.dead},
			args: []any{l.next, l.member, ms(modelTTL), "ev", chat.Name},
		}))
		moved := []pinned{{"s0", b.cfg.Self}, {"s2", b.cfg.Self}} // s0 was pinned to a
		for range 2 {
			fenced, err := l.restore(ctx, moved)
			s.must(err)
			if fenced {
				t.Error("a generation with a good lease is fenced")
			}
			mustHold(t, client, s.namespace)
		}
		got := s.audit()
		if len(got.pins[l.next]) != 2 || len(got.pins[l.member]) != 1 || got.counts[a.self()] != "0" || got.counts[b.self()] != "3" {
			t.Errorf("after restoring 2 pins: %+v", got)
		}
		s.must(l.r.reap(ctx, chat.Name, l.next, true))
		if fenced, err := l.restore(ctx, moved); err != nil || !fenced {
			t.Errorf("restoring into a generation that was reaped: fenced %v, %v", fenced, err)
		}
		mustHold(t, client, s.namespace)
	})
}

// TestLostAgainWhileRestoring loses everything once more in the middle.
func TestLostAgainWhileRestoring(t *testing.T) {
	s := newSingle(t, realServer(t))
	ctx, losses := context.Background(), 0
	l := s.lane(3*restoreChunk, Hooks{Call: func(script string, _ int, _ time.Duration, _ error) {
		if script == "restore" && losses < 3 {
			losses++
			s.client.FlushAll(ctx)
		}
	}})
	s.instance("a")
	for i := range 3 * restoreChunk {
		l.pin(wire.SocketID(fmt.Sprint("s", i)), newWaiter())
	}
	s.must(l.work(ctx, nil))
	s.client.FlushAll(ctx)
	l.beatDue = true
	s.must(l.work(ctx, nil))
	if n := len(s.audit().pins[l.member]); n != 3*restoreChunk || losses != 3 {
		t.Errorf("after %d losses, Redis has %d pins; the gateway remembers %d", losses, n, l.count())
	}
	mustHold(t, s.client, s.namespace)
}

// TestBatchesShrink lets exchanges fail: in case they take too long, the next ones
// carry less.
func TestBatchesShrink(t *testing.T) {
	s := newSingle(t, realServer(t))
	s.instance("a")
	l := s.lane(1, Hooks{})
	for i := range 200 {
		l.pin(wire.SocketID(fmt.Sprint("s", i)), newWaiter())
	}
	failing, cancel := context.WithCancel(context.Background())
	cancel()
	var sizes []int
	for range 8 {
		batch := l.set.take(l.limit, nil)
		sizes = append(sizes, len(batch))
		if err := l.send(failing, batch); err == nil {
			t.Fatal("an exchange without time succeeded")
		}
	}
	if want := []int{64, 32, 16, 8, 4, 2, 1, 1}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %v; want %v", sizes, want)
	}
	s.must(l.work(context.Background(), nil))
	if l.count() != 200 || l.limit != 64 {
		t.Errorf("%d pins, and batches of %d, after all is well again", l.count(), l.limit)
	}
	mustHold(t, s.client, s.namespace)
}

// TestVersions checks that a version is never used twice, even if Redis lost it.
func TestVersions(t *testing.T) {
	s := newSingle(t, realServer(t))
	ctx := context.Background()
	version := func() int64 { return number(s.client.Get(ctx, s.keys.version).Val()) }
	s.instance("a")
	first := version()
	s.client.FlushAll(ctx)
	s.instance("b")
	if second := version(); second <= first {
		t.Errorf("version %d, then data was lost, then version %d", first, second)
	}
	s.must(s.client.Set(ctx, s.keys.version, 1<<52, 0).Err()) // the clock of another server, which was fast
	s.instance("c")
	if got := version(); got != 1<<52+1 {
		t.Errorf("after version %d came %d", 1<<52, got)
	}
	v := &call{
		script: scriptView, args: []any{"4503599627370497", ms(modelTTL), 10},
		keys: []string{s.keys.version, s.keys.instances, s.keys.counts, s.keys.leases, s.keys.dead, s.keys.clock},
	}
	r := s.node(inc("a", 1), Hooks{})
	s.must(r.exec(ctx, v))
	if len(v.reply) != 3 {
		t.Errorf("a look with the present version got the members: %v", v.reply)
	}

	routes := func() int64 { return number(s.client.Get(ctx, r.keys.routes().version).Val()) }
	announcement := []byte(`{"routes":[{"pattern":"/x","canonical":"/x"}]}`)
	s.must(r.announceRoutes(ctx, chat.Name, announcement))
	first = routes()
	s.must(r.announceRoutes(ctx, chat.Name, announcement))
	if again := routes(); first == 0 || again != first {
		t.Errorf("announcing the same again changed the version of the routes from %d to %d", first, again)
	}
}

// TestCheckSees breaks each invariant and looks whether Check says so.
func TestCheckSees(t *testing.T) {
	client := realServer(t)
	ctx := context.Background()
	for name, damage := range map[string]func(s *single, k serviceKeys, gateway, instance string){
		"count":          func(_ *single, k serviceKeys, _, i string) { client.ZIncrBy(ctx, k.counts, 1, i) },
		"no count":       func(_ *single, k serviceKeys, _, i string) { client.ZRem(ctx, k.counts, i) },
		"nobody counted": func(_ *single, k serviceKeys, _, _ string) { client.ZAdd(ctx, k.counts, redis.Z{Member: "b#1"}) },
		"no lease":       func(_ *single, k serviceKeys, _, i string) { client.ZRem(ctx, k.leases, "i:"+i) },
		"no entry":       func(_ *single, k serviceKeys, _, i string) { client.HDel(ctx, k.instances, i) },
		"bad entry":      func(_ *single, k serviceKeys, _, i string) { client.HSet(ctx, k.instances, i, "idle") },
		"bad lease": func(_ *single, k serviceKeys, _, _ string) {
			client.ZAdd(ctx, k.leases, redis.Z{Score: 1, Member: "x"})
		},
		"orphaned pins":     func(_ *single, k serviceKeys, g, _ string) { client.ZRem(ctx, k.leases, g) },
		"checksum":          func(_ *single, k serviceKeys, g, _ string) { client.HIncrBy(ctx, k.checksums, g, 1) },
		"no checksum":       func(_ *single, k serviceKeys, g, _ string) { client.HDel(ctx, k.checksums, g) },
		"stray checksum":    func(_ *single, k serviceKeys, _, _ string) { client.HSet(ctx, k.checksums, "g:x#1.1", 0) },
		"condemned, summed": func(s *single, _ serviceKeys, g, _ string) { s.setLease(g, 0) },
		"pin lost":          func(_ *single, k serviceKeys, g, _ string) { client.HDel(ctx, k.pinsOf(g), "s0") },
		"routes lost":       func(s *single, _ serviceKeys, _, _ string) { client.Del(ctx, newKeyspace(s.namespace).routes().routes) },
		"route lease lost":  func(s *single, _ serviceKeys, _, _ string) { client.Del(ctx, newKeyspace(s.namespace).routes().leases) },
		"announcement lost": func(s *single, _ serviceKeys, _, _ string) {
			client.Del(ctx, newKeyspace(s.namespace).routes().announcements)
		},
	} {
		s := newSingle(t, client)
		a := s.instance("a")
		s.must(a.announceRoutes(ctx, chat.Name, []byte(`{"routes":[{"pattern":"/x","canonical":"/x"}]}`)))
		l := s.lane(2, Hooks{})
		mustHold(t, client, s.namespace)
		damage(s, s.keys, l.member, a.self())
		violations, err := Check(ctx, client, s.namespace)
		if err != nil || len(violations) == 0 {
			t.Errorf("%s: Check reports %v, %v", name, violations, err)
		}
	}
}
