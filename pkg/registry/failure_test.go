package registry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestCrashes kills nodes as kill -9 does.
func TestCrashes(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		c := newCluster(t, client)
		a, b := c.instance("a", chat), c.instance("b", chat)
		g, h := c.gateway("g"), c.gateway("h")
		g.pin(t, 0, 20)
		h.pin(t, 0, 20)
		h.sees(t, soon, a, b)

		a.crash()
		h.sees(t, soon, b)
		eventually(t, soon, func() string { // a gateway that the machine held up writes them again
			if got := c.counts()[a.cfg.Self.String()]; got != 20 {
				return fmt.Sprintf("the dead instance counts %d; its 20 pins are there until they are removed", got)
			}
			return ""
		})
		for i := range 20 { // what a gateway does then
			if at, err := h.Pin(context.Background(), chat.Name, socketN(h, i)); err == nil && at == a.cfg.Self {
				h.Unpin(chat.Name, socketN(h, i))
			}
		}
		g.crash()
		eventually(t, soon, func() string { return c.same(h) })
		eventually(t, soon, func() string {
			if b.View().Has(g.cfg.Self) {
				return "the dead gateway is still in the view"
			}
			return ""
		})
		eventually(t, soon, func() string {
			if counts := c.counts(); len(counts) != 1 || counts[b.cfg.Self.String()] != int64(h.Pins(chat.Name)) {
				return fmt.Sprintf("counts %v; the living gateway has %d pins", counts, h.Pins(chat.Name))
			}
			return ""
		})
		c.hold()
	})
}

// TestFlushAll loses all data, several times: nobody is taken for dead, and memory
// and Redis agree again.
func TestFlushAll(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		c := newCluster(t, client)
		a, b := c.instance("a", chat, steady), c.instance("b", chat, steady)
		g, h := c.gateway("g", steady), c.gateway("h", steady)
		g.pin(t, 0, 700) // more than one piece to restore
		h.pin(t, 0, 50)
		for n := range 3 {
			g.sees(t, soon, a, b)
			before := []int{a.joined(CauseLost), b.joined(CauseLost), g.joined(CauseLost), h.joined(CauseLost)}
			client.FlushAll(context.Background())
			client.ScriptFlush(context.Background())
			g.pin(t, 700+n, 701+n) // does not wait for anything
			eventually(t, soon, func() string {
				for i, node := range []*node{a, b, g, h} {
					if node.joined(CauseLost) == before[i] {
						return fmt.Sprintf("%v has not joined again", node.cfg.Self)
					}
				}
				return c.same(g, h)
			})
		}
		for _, n := range []*node{a, b, g, h} {
			if lost := n.reported(); len(lost) > 0 {
				t.Errorf("%v took %v for dead", n.cfg.Self, lost)
			}
		}
		c.hold()
	})
}

// TestRoutesOfTheDead kills all instances of a service: its routes go.
func TestRoutesOfTheDead(t *testing.T) {
	c := newCluster(t, realServer(t))
	a, g := c.instance("a", chat), c.gateway("g")
	g.sees(t, soon, a)
	a.crash()
	eventually(t, soon, func() string {
		if s := g.View().Services[chat.Name]; s != nil {
			return fmt.Sprintf("the service is still there: %+v", s)
		}
		return ""
	})
	c.hold()
}

// TestMissingLongEnough loses all data and with it the memory of a node that died
// just then: it leaves the view all the same.
func TestMissingLongEnough(t *testing.T) {
	c := newCluster(t, realServer(t))
	a, b := c.instance("a", chat), c.instance("b", chat)
	w := c.start("w")
	w.sees(t, soon, a, b)
	a.crash()
	c.client.FlushAll(context.Background())
	w.sees(t, soon, b)
}

// TestFrozenRedis freezes the server for longer than a lease: pins fail in time,
// the view stays, nobody is reaped, and a pin whose caller gave up leaves nothing.
func TestFrozenRedis(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	c := newCluster(t, connect(t, srv.URL()))
	impatient := func(cfg *Config) { patient(cfg); cfg.PinTimeout, cfg.CallTimeout = testTTL, testTTL/2 }
	a, b := c.instance("a", chat, impatient), c.instance("b", chat, impatient)
	g, h := c.gateway("g", impatient), c.gateway("h", impatient)
	g.pin(t, 0, 10)
	h.pin(t, 0, 10)
	g.sees(t, soon, a, b)
	eventually(t, soon, func() string {
		if !a.View().Has(g.cfg.Self) || !a.View().Has(h.cfg.Self) {
			return "the gateways are not in the view"
		}
		return ""
	})

	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := g.Pin(context.Background(), chat.Name, "timeout")
	if took := time.Since(start); !unavailable(err) || took > soon {
		t.Errorf("pin while redis hangs: %v after %v", err, took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.Pin(ctx, chat.Name, "gave up"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("pin with a deadline while redis hangs: %v", err)
	}
	h.Unpin(chat.Name, socketN(h, 3))
	later := make(chan error, 1)
	go func() {
		_, err := a.Routes(context.Background())
		later <- err
	}()
	if err := <-later; !unavailable(err) {
		t.Errorf("routes while redis hangs: %v", err)
	}
	<-time.After(2 * patientTTL) // the stall itself is what is tested
	g.sees(t, time.Millisecond, a, b)

	if err := srv.Cont(); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string { return c.same(g, h) })
	if n, m := g.Pins(chat.Name), h.Pins(chat.Name); n != 10 || m != 9 {
		t.Errorf("%d and %d pins; want 10 and 9", n, m)
	}
	<-time.After(2 * patientTTL)
	for _, n := range []*node{a, b, g, h} {
		if lost, dead := n.reported(), n.joined(CauseDead); len(lost) > 0 || dead > 0 {
			t.Errorf("%v took %v for dead, and was taken for dead %d times", n.cfg.Self, lost, dead)
		}
	}
	c.hold()
}

// TestRestartedRedis kills the server, which comes back empty.
func TestRestartedRedis(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	c := newCluster(t, connect(t, srv.URL()))
	a, g := c.instance("a", chat, steady), c.gateway("g", steady)
	g.pin(t, 0, 10)
	g.sees(t, soon, a)
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	g.Unpin(chat.Name, socketN(g, 0))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := g.Pin(ctx, chat.Name, "gave up"); !errors.Is(err, context.DeadlineExceeded) || !unavailable(err) {
		t.Errorf("pin while redis is down: %v", err)
	}
	pinned := make(chan error, 1)
	go func() {
		_, err := g.Pin(context.Background(), chat.Name, "patient")
		pinned <- err
	}()
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-pinned; err != nil && !errors.Is(err, ErrNoInstance) { // the instance may come back later than the gateway
		t.Errorf("pin over a restart: %v", err)
	}
	eventually(t, soon, func() string { return c.same(g) })
	if lost := append(a.reported(), g.reported()...); len(lost) > 0 {
		t.Errorf("%v were taken for dead", lost)
	}
	c.hold()
}

// TestZombie lets nodes come back that were taken for dead because they could not
// be reached for a while.
func TestZombie(t *testing.T) {
	c := newCluster(t, realServer(t))
	var away atomic.Bool
	reachable := func(cfg *Config) { patient(cfg); cfg.Alive = func() bool { return !away.Load() } }
	a, g := c.instance("a", chat, reachable), c.gateway("g", reachable)
	w := c.gateway("w", patient)
	g.pin(t, 0, 10)
	w.pin(t, 0, 5)
	w.sees(t, soon, a)
	away.Store(true)
	w.sees(t, 2*soon)
	eventually(t, 2*soon, func() string {
		if w.View().Has(g.cfg.Self) || c.counts()[a.cfg.Self.String()] != 5 {
			return fmt.Sprintf("the gateway that cannot be reached is still there: %v", c.counts())
		}
		return ""
	})
	c.hold()
	away.Store(false)
	w.sees(t, soon, a)
	eventually(t, soon, func() string { return c.same(g, w) })
	if buried, err := c.client.ZScore(context.Background(), newKeyspace(c.namespace).service(chat.Name).dead, "i:"+a.cfg.Self.String()).Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("the living instance is still remembered as dead: %v, %v", buried, err)
	}
	eventually(t, soon, func() string { // the hook follows what Redis shows
		if a.joined(CauseDead) != 1 || g.joined(CauseDead) == 0 {
			return fmt.Sprintf("joined again after death: instance %d, gateway %d times", a.joined(CauseDead), g.joined(CauseDead))
		}
		return ""
	})
	c.hold()
}

// TestDrift takes pins away behind a gateway's back, as a replica does that became
// the primary without the last writes.
func TestDrift(t *testing.T) {
	c := newCluster(t, realServer(t))
	a, g := c.instance("a", chat, steady), c.gateway("g", steady)
	g.pin(t, 0, 10)
	l := g.lanes[chat.Name]
	stale := &call{script: scriptPins, keys: []string{
		l.keys.instances, l.keys.counts, l.keys.leases, l.keys.clock, l.keys.pinsOf("g:" + g.cfg.Self.String() + ".1"), l.keys.checksums,
	}, args: []any{"g:" + g.cfg.Self.String() + ".1", ms(soon), opUnpin, string(socketN(g, 1)), opPin, "stranger"}}
	if err := g.exec(context.Background(), stale); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string {
		if g.joined(CauseDrift) == 0 {
			return "the drift was not noticed"
		}
		return c.same(g)
	})
	ctx := context.Background()
	hash := l.keys.pinsOf(gatewayMember(g.cfg.Self, 2).String())
	client := c.client.TxPipeline()
	client.HDel(ctx, hash, string(socketN(g, 2))) // number and checksum differ from each other
	client.ZIncrBy(ctx, l.keys.counts, -1, a.cfg.Self.String())
	client.HSet(ctx, l.keys.instances, a.cfg.Self.String(), "draining ")
	if _, err := client.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string {
		if g.joined(CauseDrift) < 2 || a.joined(CauseDrift) == 0 {
			return "the drift was not noticed"
		}
		return c.same(g)
	})
	if err := g.exec(context.Background(), stale); err != nil || len(stale.reply) != 0 {
		t.Errorf("a late exchange of a past generation was answered %v, %v; it should be fenced", stale.reply, err)
	}
	if lost := a.reported(); len(lost) > 0 {
		t.Errorf("%v were taken for dead", lost)
	}
	c.hold()
}

// TestStallGuard drives the lease clock by hand.
func TestStallGuard(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		ctx := context.Background()
		c := newCluster(t, client)
		const ttl = 60_000 // ms: only what the test does moves the clock
		r, err := New(Config{Client: client, Namespace: c.namespace, Self: inc("a", 1), LeaseTTL: ttl * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		k := r.keys.service(chat.Name)
		if err := r.announceInstance(ctx, &instance{service: chat, state: StateServing}); err != nil {
			t.Fatal(err)
		}
		look := func() (suspects []string, clock int64) {
			t.Helper()
			v := &call{script: scriptView, keys: []string{k.version, k.instances, k.counts, k.leases, k.dead, k.clock}, args: []any{"", ttl, 10}}
			if err := r.exec(ctx, v); err != nil {
				t.Fatal(err)
			}
			return texts(v.reply[1]), number(text(v.reply[6]))
		}
		// pass lets time pass in which somebody ticked, or nobody did.
		pass := func(ms int64, ticking bool) {
			t.Helper()
			for step := int64(ttl / 4); ms > 0; ms -= step {
				if !ticking {
					step = ms
				}
				client.HIncrBy(ctx, k.clock, "tick", -min(step, ms))
				look()
			}
		}
		lease := func() int64 {
			_, clock := look()
			return number(fmt.Sprint(client.ZScore(ctx, k.leases, instanceMember(r.cfg.Self).String()).Val())) - clock
		}
		near := func(what string, got, want int64) {
			t.Helper()
			if got < want-1000 || got > want+1000 {
				t.Errorf("%s: %d ms; want about %d", what, got, want)
			}
		}
		pass(ttl, true) // the hold that a new service starts with is over
		near("a lease after one TTL", lease(), 0)
		if err := r.exec(ctx, r.beatCall(k, instanceMember(r.cfg.Self).String(), "serving ", "")); err != nil {
			t.Fatal(err)
		}
		pass(100*ttl, false)
		near("a lease after a stall of 100 TTL", lease(), ttl-ttl/3)
		pass(ttl*3/4, true)
		near("a lease nearly a TTL after the stall", lease(), -5000)
		if suspects, _ := look(); len(suspects) != 0 {
			t.Errorf("%v were suspected within one TTL after a stall", suspects)
		}
		pass(ttl/2, true)
		if suspects, _ := look(); len(suspects) != 1 {
			t.Errorf("%v are suspected when the hold is over", suspects)
		}
		// Stall upon stall: the dead go all the same.
		if err := r.exec(ctx, r.beatCall(k, instanceMember(r.cfg.Self).String(), "serving ", "")); err != nil {
			t.Fatal(err)
		}
		stalls := 0
		for ; stalls < 20; stalls++ {
			if suspects, _ := look(); len(suspects) > 0 {
				break
			}
			pass(ttl/2, false)
			pass(ttl/4, true)
		}
		if stalls < 3 || stalls > 6 {
			t.Errorf("with stalls all the time, the dead are suspected after %d of them", stalls)
		}
	})
}

// TestReapInPieces removes a gateway with many pins, by several at once.
func TestReapInPieces(t *testing.T) {
	c := newCluster(t, realServer(t))
	ctx := context.Background()
	a, g := c.instance("a", chat), c.gateway("g")
	g.pin(t, 0, 3000)
	g.crash()
	member := g.lanesMember(t)
	var calls atomic.Int64
	var pieces []*node
	for _, name := range []string{"r1", "r2", "r3"} {
		pieces = append(pieces, c.start(name, func(cfg *Config) {
			cfg.Hooks.Call = func(script string, _ int, _ time.Duration, _ error) {
				if script == "reap" {
					calls.Add(1)
					mustHold(t, c.client, c.namespace)
				}
			}
		}))
	}
	done := make(chan error)
	for _, n := range pieces {
		go func() { done <- n.reap(ctx, chat.Name, member, true) }()
	}
	for range pieces {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := c.counts()[a.cfg.Self.String()]; got != 0 {
		t.Errorf("%d pins are counted", got)
	}
	if n := calls.Load(); n < 3000/reapChunk {
		t.Errorf("%d calls for 3000 pins; a piece has %d", n, reapChunk)
	}
	if got := wire.SocketID(fmt.Sprint(c.client.Exists(ctx, newKeyspace(c.namespace).service(chat.Name).pinsOf(member)).Val())); got != "0" {
		t.Error("the pins of the dead gateway are still there")
	}
	c.hold()
}

// lanesMember is the lease member of the node's first generation in chat.
func (n *node) lanesMember(t *testing.T) string {
	t.Helper()
	return gatewayMember(n.cfg.Self, 1).String()
}

// TestOnTime uses the default times: 10 s after a crash everything must be right.
//
// A machine that stands still may hold it up, but not each time.
func TestOnTime(t *testing.T) {
	const guaranteed, attempts = 2 * DefaultLeaseTTL, 3
	var took []time.Duration
	for range attempts {
		took = append(took, recovery(t))
		if took[len(took)-1] <= guaranteed {
			t.Logf("everything was right %v after the crash", took)
			return
		}
	}
	t.Errorf("everything was right %v after the crash; want %v", took, guaranteed)
}

// recovery returns how long it takes to get over the crash of an instance and a
// gateway, with the default times.
func recovery(t *testing.T) time.Duration {
	c := newCluster(t, realServer(t))
	defaults := func(cfg *Config) { cfg.LeaseTTL, cfg.Tick, cfg.Poll, cfg.CallTimeout = 0, 0, 0, 0 }
	a, b := c.instance("a", chat, defaults), c.instance("b", chat, defaults)
	g, h := c.gateway("g", defaults), c.gateway("h", defaults)
	for _, n := range []*node{a, b, g, h} {
		defer n.crash()
	}
	g.pin(t, 0, 100)
	h.pin(t, 0, 100)
	h.sees(t, soon, a, b)
	a.crash()
	g.crash()
	start := time.Now()
	h.sees(t, 3*soon, b)
	eventually(t, 3*soon, func() string {
		if b.View().Has(g.cfg.Self) {
			return "the dead gateway is still in the view"
		}
		return c.same(h)
	})
	took := time.Since(start)
	c.hold()
	return took
}
