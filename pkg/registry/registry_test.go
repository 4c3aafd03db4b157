package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestLeastConnectionsIsExact(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		c := newCluster(t, client)
		// Nobody may be taken for dead here, however busy the machine is.
		steady := func(cfg *Config) { cfg.LeaseTTL = time.Minute }
		a, b, d := c.instance("a", chat, steady), c.instance("b", chat, steady), c.instance("c", chat, steady)
		gateways := []*node{c.gateway("g1", steady), c.gateway("g2", steady), c.gateway("g3", steady)}
		var group sync.WaitGroup
		for _, g := range gateways {
			group.Go(func() { g.pin(t, 0, 100) })
		}
		group.Wait()
		each := func(n int64) map[string]int64 {
			return map[string]int64{a.cfg.Self.String(): n, b.cfg.Self.String(): n, d.cfg.Self.String(): n}
		}
		if diff := cmp.Diff(each(100), c.counts()); diff != "" {
			t.Errorf("300 pins over 3 instances (-want +got):\n%s", diff)
		}
		for i := range 50 {
			for _, g := range gateways {
				g.Unpin(chat.Name, socketN(g, i))
			}
		}
		eventually(t, soon, func() string { return c.same(gateways...) })
		sum := int64(0)
		for _, n := range c.counts() {
			sum += n
		}
		if sum != 150 {
			t.Errorf("after unpinning 150 of 300, %d are counted", sum)
		}
		for i := 100; i < 150; i++ { // they fill the emptiest
			for _, g := range gateways {
				g.pin(t, i, i+1)
			}
		}
		if diff := cmp.Diff(each(100), c.counts()); diff != "" {
			t.Errorf("150 pins later (-want +got):\n%s", diff)
		}
		c.hold()
	})
}

func TestPinIsIdempotent(t *testing.T) {
	c := newCluster(t, realServer(t))
	c.instance("a", chat, steady)
	c.instance("b", chat, steady)
	g := c.gateway("g", steady)
	first, err := g.Pin(context.Background(), chat.Name, "s")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if again, err := g.Pin(context.Background(), chat.Name, "s"); again != first || err != nil {
			t.Errorf("pin again: %v, %v; the first time it was %v", again, err, first)
		}
	}
	if n := g.Pins(chat.Name); n != 1 {
		t.Errorf("%d pins", n)
	}
	g.Unpin(chat.Name, "s")
	g.Unpin(chat.Name, "never pinned")
	second, err := g.Pin(context.Background(), chat.Name, "s") // a has been unpinned by then: "a" again, not "b"
	if second != first || err != nil {
		t.Errorf("after unpin, pin gave %v, %v; %v has the fewest pins", second, err, first)
	}
}

func TestPinErrors(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	n := c.start("g", steady)
	if _, err := n.Pin(ctx, chat.Name, "s"); !errors.Is(err, ErrNotJoined) {
		t.Errorf("pin by a node that is no gateway: %v", err)
	}
	if err := n.JoinGateway(ctx, "public"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Pin(ctx, chat.Name, "s"); !errors.Is(err, ErrNoInstance) {
		t.Errorf("pin without an instance: %v", err)
	}
	for _, bad := range []struct {
		service string
		socket  wire.SocketID
	}{{"no slug!", "s"}, {"", "s"}, {"chat", ""}, {"chat", wire.SocketID(make([]byte, MaxSocketID+1))}} {
		if _, err := n.Pin(ctx, bad.service, bad.socket); err == nil || unavailable(err) {
			t.Errorf("pin %q to %q: %v", bad.socket, bad.service, err)
		}
	}
	a := c.instance("a", chat, steady)
	if at, err := n.Pin(ctx, chat.Name, "s"); err != nil || at != a.cfg.Self {
		t.Errorf("pin: %v, %v", at, err)
	}
	if err := a.SetState(ctx, chat.Name, StateDraining); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Pin(ctx, chat.Name, "s2"); !errors.Is(err, ErrNoInstance) {
		t.Errorf("pin while the only instance drains: %v", err)
	}
	if at, err := n.Pin(ctx, chat.Name, "s"); err != nil || at != a.cfg.Self {
		t.Errorf("the pin of a draining instance: %v, %v", at, err)
	}
	n.crash()
	if _, err := n.Pin(ctx, chat.Name, "s"); !unavailable(err) {
		t.Errorf("pin after the end: %v", err)
	}
	n.Unpin(chat.Name, "s")
}

func TestRouteConflicts(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		c := newCluster(t, client)
		ctx := context.Background()
		a := c.instance("a", chat, patient)
		n := c.start("b", patient)
		rival := Service{Name: "rival", Routes: []Route{{Pattern: "/x", Canonical: "/x"}, {Pattern: "/chat/:id", Canonical: "/chat/:"}}}
		refused := func(s Service) {
			t.Helper()
			var conflict *ErrRouteConflict
			if err := n.Announce(ctx, s); !errors.As(err, &conflict) || conflict.Owner != "chat" || conflict.Pattern != "/chat/:id" {
				t.Errorf("announce: %v; want a conflict with chat", err)
			}
		}
		refused(rival)
		rival.Gateways = []string{"internal"}
		refused(rival) // chat announces to all gateways

		public := chat
		public.Gateways = []string{"public", "partners"}
		if err := a.Announce(ctx, public); err != nil {
			t.Fatal(err)
		}
		if err := n.Announce(ctx, rival); err != nil {
			t.Errorf("announce to another gateway: %v", err)
		}
		if err := n.Withdraw(ctx, "rival"); err != nil {
			t.Fatal(err)
		}
		rival.Gateways = []string{"internal", "partners"}
		refused(rival)

		a.crash() // its routes go with its lease
		start := time.Now()
		eventually(t, 2*soon, func() string {
			if err := n.Announce(ctx, rival); err != nil {
				return err.Error()
			}
			return ""
		})
		if took := time.Since(start); took < patientTTL/4 {
			t.Errorf("the routes of a service were taken %v after its death; the lease is %v", took, patientTTL)
		}
		c.hold()
	})
}

// TestRoutesOfTheLatestStart deploys a version with other routes beside the old one
// and takes it back.
func TestRoutesOfTheLatestStart(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	watcher := c.start("w", steady)
	v1, v2 := chat, Service{Name: "chat", Version: "2", Routes: []Route{{Pattern: "/chat/:room", Canonical: "/chat/:"}, {Pattern: "/new", Canonical: "/new"}}, OnInstanceLoss: PolicyRepin}
	old := c.instance("b", v1, steady)
	canary := c.instance("a", v2, steady)
	if err := old.Announce(ctx, v1); err != nil { // the older start does not win by announcing later
		t.Fatal(err)
	}
	routes := func(n int, policy Policy) {
		t.Helper()
		eventually(t, soon, func() string {
			s := watcher.View().Services["chat"]
			if s == nil || len(s.Routes) != n || s.OnInstanceLoss != policy {
				return fmt.Sprintf("the view has %+v; want %d routes and policy %s", s, n, policy)
			}
			return ""
		})
	}
	routes(2, PolicyRepin)
	if err := canary.Withdraw(ctx, "chat"); err != nil {
		t.Fatal(err)
	}
	routes(1, PolicyClose)
	list, err := watcher.Routes(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "chat" || list[0].Routes[0] != chat.Routes[0] {
		t.Errorf("routes: %+v, %v", list, err)
	}
	c.hold()
}

func TestGoodbyesTakeEffectAtOnce(t *testing.T) {
	c := newCluster(t, realServer(t))
	long := func(cfg *Config) { cfg.LeaseTTL, cfg.Tick, cfg.Poll = time.Minute, time.Second, 10*time.Second }
	ctx := context.Background()
	watcher := c.start("w", long)
	a, b := c.instance("a", chat, long), c.instance("b", chat, long)
	g := c.gateway("g", long)
	g.pin(t, 0, 1200) // more than one piece to remove
	watcher.sees(t, soon, a, b)
	eventually(t, soon, func() string {
		if !watcher.View().Has(g.cfg.Self) {
			return "the gateway is not in the view"
		}
		return ""
	})
	if err := a.Withdraw(ctx, chat.Name); err != nil {
		t.Fatal(err)
	}
	watcher.sees(t, soon, b)
	if got := c.counts()[a.cfg.Self.String()]; got != 600 {
		t.Errorf("the pins of an instance that withdrew: %d; they stay until they are removed", got)
	}
	if err := g.LeaveGateway(ctx, "public"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{b.cfg.Self.String(): 0}, c.counts()); diff != "" {
		t.Errorf("after the gateway left (-want +got):\n%s", diff)
	}
	eventually(t, soon, func() string {
		if watcher.View().Has(g.cfg.Self) {
			return "the gateway is still in the view"
		}
		return ""
	})
	if err := b.Withdraw(ctx, chat.Name); err != nil {
		t.Fatal(err)
	}
	watcher.sees(t, soon)
	want := []wire.Incarnation{a.cfg.Self, g.cfg.Self, b.cfg.Self}
	eventually(t, soon, func() string {
		if got := watcher.reported(); !slices.Equal(got, want) {
			return fmt.Sprintf("lost %v; want %v", got, want)
		}
		return ""
	})
	c.hold()
}

func TestNodes(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	s := chat
	s.Version = "v1 beta"
	a := c.instance("a", s, steady)
	g := c.gateway("g", steady)
	if err := g.JoinGateway(ctx, "internal"); err != nil {
		t.Fatal(err)
	}
	idle := c.gateway("idle", steady)
	g.pin(t, 0, 3)
	if err := a.SetState(ctx, chat.Name, StateDraining); err != nil {
		t.Fatal(err)
	}
	nodes, err := c.start("cli").Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		for i, role := range n.Roles {
			if role.Lease <= 0 || role.Lease > soon {
				t.Errorf("%v: lease %v", n.Incarnation, role.Lease)
			}
			n.Roles[i].Lease = 0
		}
	}
	want := []Node{
		{Incarnation: a.cfg.Self, Roles: []Role{{Service: "chat", Kind: KindInstance, State: StateDraining, Version: "v1 beta", Pins: 3}}},
		{Incarnation: g.cfg.Self, Gateways: []string{"internal", "public"}, Roles: []Role{{Service: "chat", Kind: KindGateway, Pins: 3}}},
		{Incarnation: idle.cfg.Self, Gateways: []string{"public"}},
	}
	if diff := cmp.Diff(want, nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if err := g.LeaveGateway(ctx, "public"); err != nil {
		t.Fatal(err)
	}
	if n := g.Pins(chat.Name); n != 3 {
		t.Errorf("%d pins after one of two gateways of a node left", n)
	}
}

func TestSuperseded(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	before := c.instance("a", chat)
	after := c.instance("a", chat)
	watcher := c.start("w")
	watcher.sees(t, soon, after)
	if err := before.Announce(ctx, chat); !errors.Is(err, ErrSuperseded) {
		t.Errorf("announce by an earlier start: %v", err)
	}
	eventually(t, soon, func() string {
		if n := len(c.counts()); n != 1 {
			return fmt.Sprintf("%d instances are counted", n)
		}
		return ""
	})
	after.crash() // the earlier start, which lives, takes over
	watcher.sees(t, soon, before)
	c.hold()
}

// TestSupersededGateway restarts a gateway under its name before its lease expires.
func TestSupersededGateway(t *testing.T) {
	c := newCluster(t, realServer(t))
	c.epoch = 33 // the epochs of the gateways are "z" and "10": the longer one is later
	ctx := context.Background()
	long := func(cfg *Config) { cfg.LeaseTTL, cfg.Tick, cfg.Poll = time.Minute, testTTL/8, testTTL/8 }
	a := c.instance("a", chat, long)
	before := c.gateway("g", long)
	before.pin(t, 0, 10)
	after := c.gateway("g", long)
	after.pin(t, 0, 1)
	eventually(t, soon, func() string {
		if !slices.Equal(a.reported(), []wire.Incarnation{before.cfg.Self}) {
			return fmt.Sprintf("lost %v; want the earlier start", a.reported())
		}
		if n := c.counts()[a.cfg.Self.String()]; n != 1 {
			return fmt.Sprintf("%d pins are counted; the earlier start's should be gone", n)
		}
		return ""
	})
	short, cancel := context.WithTimeout(ctx, testTTL)
	defer cancel()
	if at, err := before.Pin(short, chat.Name, "s"); !errors.Is(err, ErrSuperseded) {
		t.Errorf("pin by the earlier start: %v, %v", at, err)
	}
	c.hold()
}

// TestLaneRetires ends a service: the gateway stops caring for it, and cares again
// when it comes back.
func TestLaneRetires(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	a, g := c.instance("a", chat), c.gateway("g")
	g.pin(t, 0, 2)
	g.sees(t, soon, a)
	if err := a.Withdraw(ctx, chat.Name); err != nil {
		t.Fatal(err)
	}
	g.Unpin(chat.Name, socketN(g, 0))
	g.Unpin(chat.Name, socketN(g, 1))
	eventually(t, soon, func() string {
		g.Registry.mu.Lock()
		lanes := len(g.lanes)
		g.Registry.mu.Unlock()
		if n := c.client.ZCard(ctx, newKeyspace(c.namespace).service(chat.Name).leases).Val(); n > 0 || lanes > 0 {
			return fmt.Sprintf("%d lanes, and %d leases in Redis", lanes, n)
		}
		return ""
	})
	if err := a.Announce(ctx, chat); err != nil {
		t.Fatal(err)
	}
	g.pin(t, 0, 2)
	if diff := c.same(g); diff != "" || g.Pins(chat.Name) != 2 {
		t.Errorf("%d pins; %s", g.Pins(chat.Name), diff)
	}
	c.hold()
}

// TestNothingHappens lets a cluster rest for some renewals.
func TestNothingHappens(t *testing.T) {
	c := newCluster(t, realServer(t))
	a, g := c.instance("a", chat, steady), c.gateway("g", steady)
	g.pin(t, 0, 10)
	eventually(t, soon, func() string {
		if !a.View().Has(g.cfg.Self) || !g.View().Has(g.cfg.Self) || !g.View().Has(a.cfg.Self) {
			return "the view is not complete"
		}
		if a.View().Gateways[g.cfg.Self] == nil || g.View().Gateways[g.cfg.Self] == nil {
			return "the view does not have the gateway"
		}
		for _, n := range []*node{a, g} {
			if s := n.View().Services[chat.Name]; s == nil || len(s.Routes) == 0 {
				return "the view does not have the routes" // they come from another table than the members
			}
		}
		return ""
	})
	versions := func() []any {
		k := newKeyspace(c.namespace)
		inRedis, err := c.client.MGet(context.Background(), k.service(chat.Name).version).Result()
		routes, err2 := c.client.MGet(context.Background(), k.routes().version).Result()
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return append(append(inRedis, routes...), a.View().Version, g.View().Version)
	}
	before := versions()
	<-time.After(3 * testTTL) // what does not happen has no signal
	if after := versions(); !slices.Equal(after, before) {
		t.Errorf("versions (in Redis, of routes, of the views) went from %v to %v", before, after)
	}
	for _, cause := range []Cause{CauseLost, CauseDead, CauseDrift} {
		if n := a.joined(cause) + g.joined(cause); n > 0 {
			t.Errorf("joined %d times because of %s", n, cause)
		}
	}
	c.hold()
}
