package quota

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var server *redistest.Server // shared; each test has a namespace of its own

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, &server, func() error { return goleak.Find() }))
}

// patience bounds every wait.
const patience = 20 * time.Second

var namespaces atomic.Int64

func namespace() string { return fmt.Sprintf("q%d", namespaces.Add(1)) }

// gateway is a Quota that runs until crash or the end of the test.
type gateway struct {
	*Quota
	crash func() // as if the process had ended
}

// start runs a Quota on a connection of its own.
func start(t testing.TB, redis interface{ URL() string }, name, namespace string, cfg Config) *gateway {
	t.Helper()
	top, err := redisbus.ParseURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	life, end := context.WithCancel(context.Background())
	client := top.NewClient(life)
	cfg.Client, cfg.Namespace = client, namespace
	cfg.Self = wire.Incarnation{Node: wire.NodeID(name), Epoch: 1}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = 5 * time.Second // the machine is busy
	}
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = q.Run(ctx) }()
	var once sync.Once
	finish := func(crash bool) func() {
		return func() {
			once.Do(func() {
				if crash {
					_ = client.Close() // so that it says no goodbye
				}
				stop()
				<-ended
				_ = client.Close()
				end()
			})
		}
	}
	t.Cleanup(finish(false))
	return &gateway{q, finish(true)}
}

// connect opens a connection, which must be admitted.
func (g *gateway) connect(t testing.TB, k Kind, name string) *Connection {
	t.Helper()
	c, excess := g.try(t, k, name)
	if excess != nil {
		t.Fatalf("not admitted: %+v", *excess)
	}
	return c
}

func (g *gateway) try(t testing.TB, k Kind, name string) (*Connection, *Excess) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return g.Connect(ctx, k, name)
}

// eventually polls for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// TestGlobalRate: four gateways of one user, with uneven load of twice the limit
// together, let through what one may, within 5 %.
func TestGlobalRate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		bytes  int
		allows func(seconds float64) float64
	}{
		{"messages", Limits{MessageRate: Rate{PerSecond: 1000, Burst: 1000}}, 1, func(s float64) float64 { return 1000 + 1000*s }},
		{"bytes", Limits{ByteRate: Rate{PerSecond: 100_000, Burst: 100_000}}, 100, func(s float64) float64 { return 1000 + 1000*s }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := namespace()
			var passed, refused, last, stood atomic.Int64 // stood: for how long nothing was asked
			began := time.Now()
			until := began.Add(4 * time.Second)
			var group sync.WaitGroup
			for i, share := range []int{70, 20, 8, 2} {
				c := start(t, server, fmt.Sprintf("g%d", i), ns, Config{User: tt.limits}).connect(t, User, "alice")
				group.Go(func() {
					// every 10 ms, its share of 20 messages
					ticker := time.NewTicker(10 * time.Millisecond)
					defer ticker.Stop()
					for sent, at := 0, time.Now(); time.Now().Before(until); <-ticker.C {
						pause := int64(time.Since(at))
						at = time.Now()
						for most := stood.Load(); pause > most && !stood.CompareAndSwap(most, pause); most = stood.Load() {
						}
						for due := int(time.Since(began).Seconds() * 2000 * float64(share) / 100); sent < due; sent++ {
							if c.Take(nil, tt.bytes) == nil {
								passed.Add(1)
							} else {
								refused.Add(1)
							}
							last.Store(int64(time.Since(began)))
						}
					}
				})
			}
			group.Wait()
			want := tt.allows(time.Duration(last.Load()).Seconds())
			t.Logf("%d passed, %d refused; %.0f are allowed: %+.1f %%", passed.Load(), refused.Load(), want, 100*(float64(passed.Load())/want-1))
			// What is earned while nobody asks, beyond the burst, is gone.
			least := 0.95 * (want - 1000*time.Duration(stood.Load()).Seconds())
			if got := float64(passed.Load()); got > 1.05*want || got < least {
				t.Errorf("%v passed; %v are allowed", got, want)
			}
		})
	}
}

// TestConnections: connections count over all gateways, a closed one makes room, and
// nobody else notices.
func TestConnections(t *testing.T) {
	ns := namespace()
	cfg := Config{Address: Limits{Connections: 10}}
	a, b := start(t, server, "a", ns, cfg), start(t, server, "b", ns, cfg)
	var held []*Connection
	for range 7 {
		held = append(held, a.connect(t, Address, "192.0.2.1"))
	}
	for range 3 {
		held = append(held, b.connect(t, Address, "192.0.2.1"))
	}
	for _, g := range []*gateway{a, b} {
		if _, excess := g.try(t, Address, "192.0.2.1"); excess == nil || excess.Limit != Connections || excess.RetryAfter <= 0 {
			t.Fatalf("the eleventh: %+v", excess)
		}
	}
	a.connect(t, Address, "192.0.2.2").Close()
	held[0].Close()
	eventually(t, "the place of the closed one is free", func() bool {
		c, excess := b.try(t, Address, "192.0.2.1")
		if excess == nil {
			held = append(held, c)
		}
		return excess == nil
	})
	for _, c := range held[1:] {
		c.Close()
	}
	eventually(t, "nothing is left", func() bool {
		keys, err := server.Client().Keys(t.Context(), "bo:"+ns+":{qa.*").Result()
		return err == nil && len(keys) == 0 && a.Subjects() == 0 && b.Subjects() == 0
	})
}

// TestConnectionsAtOnce: handshakes that come together are granted what is left.
func TestConnectionsAtOnce(t *testing.T) {
	ns := namespace()
	cfg := Config{Address: Limits{Connections: 50}}
	var group sync.WaitGroup
	var admitted atomic.Int64
	for i := range 4 {
		g := start(t, server, fmt.Sprintf("g%d", i), ns, cfg)
		for range 30 {
			group.Go(func() {
				if _, excess := g.try(t, Address, "a"); excess == nil {
					admitted.Add(1)
				}
			})
		}
	}
	group.Wait()
	if n := admitted.Load(); n != 50 {
		t.Errorf("%d were admitted of 50", n)
	}
}

// TestCrash: the connections of a gateway that died are free soon.
func TestCrash(t *testing.T) {
	ns := namespace()
	cfg := Config{User: Limits{Connections: 2}}
	a, b := start(t, server, "a", ns, cfg), start(t, server, "b", ns, cfg)
	a.connect(t, User, "alice")
	a.connect(t, User, "alice")
	if _, excess := b.try(t, User, "alice"); excess == nil {
		t.Fatal("a third connection was admitted")
	}
	a.crash()
	eventually(t, "the dead gateway's connections are taken back", func() bool {
		_, excess := b.try(t, User, "alice")
		return excess == nil
	})
}

// TestRedisLosesItsData: connections count again from what the gateways remember.
func TestRedisLosesItsData(t *testing.T) {
	own := redistest.Start(t, redistest.Config{})
	ns := namespace()
	cfg := Config{User: Limits{Connections: 2}}
	a, b := start(t, own, "a", ns, cfg), start(t, own, "b", ns, cfg)
	a.connect(t, User, "alice")
	a.connect(t, User, "alice")
	eventually(t, "the gateway is known", func() bool {
		n, err := own.Client().ZCard(t.Context(), a.gatewaysKey()).Result()
		return err == nil && n == 2
	})
	if err := own.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis knows the connections again", func() bool {
		n, err := own.Client().HGet(t.Context(), a.subjectKey(User, "alice"), "c:"+a.self).Int()
		return err == nil && n == 2
	})
	if _, excess := b.try(t, User, "alice"); excess == nil {
		t.Fatal("a third connection was admitted")
	}
}

// TestConnectionRate: handshakes over the rate are told when to come again, without
// Redis being asked each time.
func TestConnectionRate(t *testing.T) {
	ns := namespace()
	var calls atomic.Int64
	cfg := Config{Address: Limits{ConnectionRate: Rate{PerSecond: 0.01, Burst: 5}}}
	cfg.Hooks.Call = func(int, time.Duration, error) { calls.Add(1) }
	g := start(t, server, "a", ns, cfg)
	for range 5 {
		g.connect(t, Address, "a").Close()
	}
	before := calls.Load()
	for range 1000 {
		_, excess := g.try(t, Address, "a")
		if excess == nil || excess.Limit != ConnectionRate || excess.RetryAfter < 50*time.Second {
			t.Fatalf("a sixth handshake: %+v", excess)
		}
	}
	if n := calls.Load() - before; n > 5 {
		t.Errorf("1000 refused handshakes took %d exchanges", n)
	}
}

// TestRetryAfter: who is over a rate is told when all gateways together will have
// earned enough, for messages of each size, and not when Redis is asked next.
func TestRetryAfter(t *testing.T) {
	g := start(t, server, "a", namespace(), Config{
		Address: Limits{MessageRate: Rate{PerSecond: 0.001, Burst: 1}},
		User:    Limits{ByteRate: Rate{PerSecond: 1, Burst: 1000}},
	})
	c := g.connect(t, Address, "a")
	if excess := c.Take(nil, 1); excess != nil {
		t.Fatalf("the first message: %+v", excess)
	}
	if excess := c.Take(nil, 1); excess == nil || excess.Limit != MessageRate || excess.RetryAfter < 900*time.Second {
		t.Errorf("a token takes 1000 s: %+v", excess)
	}

	c = g.connect(t, User, "alice")
	if excess := c.Take(nil, 1000); excess != nil {
		t.Fatalf("the whole burst at once: %+v", excess)
	}
	for _, size := range []int{900, 600} {
		excess := c.Take(nil, size)
		if wait := time.Duration(size) * time.Second; excess == nil || excess.Limit != ByteRate ||
			excess.RetryAfter > wait+time.Second || excess.RetryAfter < wait-100*time.Second {
			t.Errorf("%d bytes take %v: %+v", size, wait, excess)
		}
	}
}

// TestWholeBurst: the last bytes of a burst are of use to a message that needs more
// than Redis has left, but no more than that and what is leased already.
func TestWholeBurst(t *testing.T) {
	g := start(t, server, "a", namespace(), Config{User: Limits{ByteRate: Rate{PerSecond: 0.001, Burst: 10_000}}})
	c := g.connect(t, User, "alice")
	for i := range 20 {
		if excess := c.Take(nil, 500); excess != nil {
			t.Fatalf("message %d of 20: %+v", i+1, excess)
		}
	}
	if excess := c.Take(nil, 1); excess == nil {
		t.Error("one byte more than the burst passed")
	}
}

// TestRedisAway: limits go on per gateway, handshakes are not held up for long, and
// the cluster's limits are back with Redis.
func TestRedisAway(t *testing.T) {
	own := redistest.Start(t, redistest.Config{})
	ns := namespace()
	cfg := Config{User: Limits{Connections: 3, MessageRate: Rate{PerSecond: 0.001, Burst: 20}}, CallTimeout: 100 * time.Millisecond}
	a, b := start(t, own, "a", ns, cfg), start(t, own, "b", ns, cfg)
	c := a.connect(t, User, "alice")
	if err := own.Stop(); err != nil { // hangs, which is worse than dead
		t.Fatal(err)
	}
	a.connect(t, User, "alice")
	a.connect(t, User, "alice")
	if _, excess := a.try(t, User, "alice"); excess == nil || excess.Limit != Connections {
		t.Errorf("a fourth connection: %+v", excess)
	}
	passed := 0
	var excess *Excess
	for range 100 {
		if excess = c.Take(nil, 1); excess == nil {
			passed++
		}
	}
	if passed < 20 || passed > 40 || excess == nil || excess.Limit != MessageRate {
		t.Errorf("%d messages passed, then %+v; the burst is 20 for each gateway", passed, excess)
	}
	if err := own.Cont(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis knows all connections", func() bool {
		n, err := own.Client().HGet(t.Context(), a.subjectKey(User, "alice"), "c:"+a.self).Int()
		return err == nil && n == 3
	})
	eventually(t, "the other gateway has the cluster's limits again", func() bool {
		d, excess := b.try(t, User, "alice")
		if excess == nil {
			d.Close()
		}
		return excess != nil && excess.Limit == Connections
	})
}

// TestManySubjects: addresses without a connection leave nothing behind, refused ones
// neither, and the number of those that are counted has a bound.
func TestManySubjects(t *testing.T) {
	ns := namespace()
	untracked := 0
	g := start(t, server, "a", ns, Config{
		Address: Limits{Connections: 1, MessageRate: Rate{PerSecond: 100}}, MaxSubjects: 100,
		Hooks: Hooks{Untracked: func() { untracked++ }},
	})
	for i := range 2000 {
		g.connect(t, Address, fmt.Sprint(i)).Close()
		if n := g.Subjects(); n > 100 {
			t.Fatalf("%d subjects", n)
		}
	}
	untracked = 0
	for i := range 110 {
		g.connect(t, Address, fmt.Sprint("held", i))
	}
	if n := g.Subjects(); n > 100 || untracked < 10 {
		t.Errorf("%d subjects, %d connections are not counted", n, untracked)
	}
	keys := server.Client().Keys(t.Context(), "bo:"+ns+":{qa.*").Val()
	if len(keys) == 0 {
		t.Error("Redis counts nobody")
	}
	for _, key := range keys {
		if ttl := server.Client().PTTL(t.Context(), key).Val(); ttl == -1 { // -2: it is gone
			t.Fatalf("%s stays for ever", key)
		}
	}
}

func TestConnectGivesUp(t *testing.T) {
	q, err := New(Config{Client: server.Client(), Namespace: namespace(), User: Limits{Connections: 1}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, excess := q.Connect(ctx, User, "alice"); excess == nil { // nobody runs it
		t.Error("admitted")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.pending[0]; len(s.waiting) != 0 || s.users != 0 {
		t.Errorf("%d wait", len(s.waiting))
	}
}

func TestNothingLimited(t *testing.T) {
	g := start(t, server, "a", namespace(), Config{})
	c := g.connect(t, User, "alice")
	if excess := c.Take(nil, 1<<30); excess != nil || g.Subjects() != 0 {
		t.Errorf("%+v", excess)
	}
	c.Close()
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{Namespace: "No Slug", User: Limits{Connections: -1, ByteRate: Rate{PerSecond: -1}}})
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		t.Fatalf("New: %v", err)
	}
}

func TestAddressName(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := AddressName(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s; want %s", in, got, want)
		}
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	g := start(t, server, "a", namespace(), Config{User: Limits{MessageRate: Rate{PerSecond: 1e8}, ByteRate: Rate{PerSecond: 1e10}}})
	c := g.connect(t, User, "alice")
	if n := testing.AllocsPerRun(100, func() { c.Take(nil, 100) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	g := start(b, server, "a", namespace(), Config{User: Limits{MessageRate: Rate{PerSecond: 1e10}, ByteRate: Rate{PerSecond: 1e12}}})
	c := g.connect(b, User, "alice")
	b.ReportAllocs()
	for b.Loop() {
		c.Take(nil, 100)
	}
}
