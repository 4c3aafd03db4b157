package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// cluster is a namespace with running registries.
type cluster struct {
	t         testing.TB
	client    *redis.Client
	namespace string
	epoch     int
}

func newCluster(t testing.TB, client *redis.Client) *cluster {
	return &cluster{t: t, client: client, namespace: freshNamespace()}
}

// testTTL is short, so that the dead are found soon.
const testTTL = 800 * time.Millisecond

// soon is long enough on a machine that is busy with something else. What has to be
// on time is tested with the default times, see TestOnTime.
const soon = 10 * time.Second

// steady is for nodes that nobody may take for dead, however busy the machine is, and
// also if it stands still.
func steady(cfg *Config) { cfg.LeaseTTL = soon }

// patientTTL is for nodes that somebody shall take for dead, but not because the machine
// is busy; patient makes it their lease.
const patientTTL = 4 * testTTL

func patient(cfg *Config) { cfg.LeaseTTL = patientTTL }

// node is a running registry.
type node struct {
	*Registry
	crash func() // ends it without a goodbye, as kill -9 does
	mu    sync.Mutex
	cause map[Cause]int // guarded by mu: how often it joined, and why
	lost  []wire.Incarnation
}

// start runs a registry.
func (c *cluster) start(name string, change ...func(*Config)) *node {
	c.t.Helper()
	c.epoch++
	n := &node{cause: map[Cause]int{}}
	cfg := Config{
		Client: c.client, Namespace: c.namespace, Self: inc(name, c.epoch),
		LeaseTTL: testTTL, Tick: testTTL / 8, Poll: testTTL / 10, CallTimeout: 2 * time.Second, PinTimeout: 20 * testTTL,
		Hooks: Hooks{Joined: func(_ string, _ MemberKind, cause Cause, _ int) {
			n.mu.Lock()
			n.cause[cause]++
			n.mu.Unlock()
		}},
	}
	for _, f := range change {
		f(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n.Registry = r
	r.OnChange(func(old, next *View) {
		n.mu.Lock()
		n.lost = append(n.lost, next.Lost(old)...)
		n.mu.Unlock()
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			c.t.Errorf("run: %v", err)
		}
	}()
	n.crash = func() {
		cancel()
		<-done
	}
	c.t.Cleanup(n.crash)
	return n
}

// joined is how often the node joined for that reason.
func (n *node) joined(cause Cause) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cause[cause]
}

// reported lists what the view reported as lost so far.
func (n *node) reported() []wire.Incarnation {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]wire.Incarnation(nil), n.lost...)
}

var chat = Service{Name: "chat", Routes: []Route{{Pattern: "/chat/:room", Canonical: "/chat/:"}}}

// instance starts a node that serves s.
func (c *cluster) instance(name string, s Service, change ...func(*Config)) *node {
	c.t.Helper()
	n := c.start(name, change...)
	if err := n.Announce(context.Background(), s); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// gateway starts a node that pins.
func (c *cluster) gateway(name string, change ...func(*Config)) *node {
	c.t.Helper()
	n := c.start(name, change...)
	if err := n.JoinGateway(context.Background(), "public"); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// pin pins sockets first to last-1.
func (n *node) pin(t testing.TB, first, last int) {
	t.Helper()
	var group sync.WaitGroup
	for i := first; i < last; i++ {
		group.Go(func() {
			if _, err := n.Pin(context.Background(), chat.Name, socketN(n, i)); err != nil {
				t.Errorf("pin: %v", err)
			}
		})
	}
	group.Wait()
}

func socketN(n *node, i int) wire.SocketID {
	return wire.SocketID(fmt.Sprintf("%s-%d", n.cfg.Self.Node, i))
}

// counts is what Redis counts for each instance of chat.
func (c *cluster) counts() map[string]int64 {
	c.t.Helper()
	list, err := c.client.ZRangeWithScores(context.Background(), newKeyspace(c.namespace).service(chat.Name).counts, 0, -1).Result()
	if err != nil {
		c.t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, z := range list {
		counts[z.Member.(string)] = int64(z.Score)
	}
	return counts
}

// hold fails the test if Redis breaks an invariant.
func (c *cluster) hold() {
	c.t.Helper()
	mustHold(c.t, c.client, c.namespace)
}

// same says in what Redis differs from what the gateways remember; "" if in
// nothing.
func (c *cluster) same(gateways ...*node) string {
	k := newKeyspace(c.namespace).service(chat.Name)
	a, err := readAudit(context.Background(), c.client, k, nil)
	if err != nil {
		return err.Error()
	}
	total := 0
	for _, g := range gateways {
		g.Registry.mu.Lock()
		l := g.lanes[chat.Name]
		g.Registry.mu.Unlock()
		if l == nil {
			continue
		}
		l.mu.Lock()
		remembered := map[string]string{}
		for socket, at := range l.set.settled {
			remembered[string(socket)] = at.String()
		}
		pending := len(l.set.pending)
		l.mu.Unlock()
		total += len(remembered)
		found := false
		for lease, pins := range a.pins {
			who, err := parseMember(lease)
			found = found || err == nil && who.incarnation == g.cfg.Self && maps.Equal(pins, remembered)
		}
		if pending > 0 || !found && len(remembered) > 0 {
			return fmt.Sprintf("%s remembers %d pins and has %d in doubt; no generation in Redis has the same", g.cfg.Self, len(remembered), pending)
		}
	}
	inRedis := 0
	for _, pins := range a.pins {
		inRedis += len(pins)
	}
	if inRedis != total {
		return fmt.Sprintf("Redis has %d pins; the gateways remember %d", inRedis, total)
	}
	if v := a.violations(); len(v) > 0 {
		return fmt.Sprint(v)
	}
	return ""
}

// sees waits until the view of n shows exactly these serving instances of chat.
func (n *node) sees(t testing.TB, within time.Duration, instances ...*node) {
	t.Helper()
	eventually(t, within, func() string {
		s := n.View().Services[chat.Name]
		if s == nil {
			if len(instances) == 0 {
				return ""
			}
			return "the service is not in the view"
		}
		for _, i := range instances {
			if s.Instances[i.cfg.Self.Node].Incarnation != i.cfg.Self {
				return fmt.Sprintf("%v is not in the view: %v", i.cfg.Self, s.Instances)
			}
		}
		if len(s.Instances) != len(instances) {
			return fmt.Sprintf("the view has %v; %d instances are expected", s.Instances, len(instances))
		}
		return ""
	})
}

// unavailable reports whether err says so.
func unavailable(err error) bool { return errors.Is(err, ErrUnavailable) }
