package redisbus

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestSlotOf(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Args: []string{"--cluster-enabled", "yes"}, TCP: true})
	for _, key := range []string{"", "a", "bo:x:ch:{n1}", "{}a", "{a", "a}b{c}d{e}", "{{a}}", "é{ü}"} {
		want, err := srv.Client().ClusterKeySlot(t.Context(), key).Result()
		must(t, err)
		if got := slotOf(key); int64(got) != want {
			t.Errorf("slotOf(%q) is %d; want %d", key, got, want)
		}
	}
}

func conform(t *testing.T, url string, servers []*redistest.Server) {
	t.Helper()
	var nodes atomic.Int64
	linktest.Run(t, linktest.Harness{
		New: func(t *testing.T) link.Bus {
			cfg := calm(t, url)
			cfg.Node = wire.NodeID(fmt.Sprint("bus-", nodes.Add(1)))
			return start(t, cfg)
		},
		Interrupt: func(b link.Bus) {
			for _, srv := range servers {
				interrupt(t, srv, b.(*Bus))
			}
		},
	})
}

// ring is three nodes that send to each other without end.
type ring struct {
	peers []*linktest.Peer
	buses []*Bus
	stop  chan struct{}
	sent  chan int
}

func startRing(t *testing.T, url string) *ring {
	t.Helper()
	r := &ring{stop: make(chan struct{})}
	for i := range 3 {
		node := wire.NodeID(fmt.Sprint("n", i))
		cfg := quick(t, url)
		cfg.Node, cfg.SilenceLimit = node, time.Second
		r.buses = append(r.buses, start(t, cfg))
		r.peers = append(r.peers, linktest.StartPeer(t, r.buses[i], wire.Incarnation{Node: node, Epoch: 1}, link.Config{}))
	}
	r.sent = make(chan int, len(r.peers))
	for i, p := range r.peers {
		go r.send(t, p, r.peers[(i+1)%len(r.peers)].Self)
	}
	r.moved("the start")
	return r
}

func (r *ring) send(t *testing.T, p *linktest.Peer, to wire.Incarnation) {
	n := 0
	defer func() { r.sent <- n }()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-pace.C:
		}
		if err := p.Send(to, 1, n, 10, 200); err != nil {
			t.Error(err)
			return
		}
		n += 10
	}
}

// moved waits until frames flow in all directions.
func (r *ring) moved(what string) {
	for _, p := range r.peers {
		before := p.Frames()
		p.Wait("frames after "+what, func() bool { return p.Frames() > before+500 })
	}
}

// end checks that everything arrived, once and in order.
func (r *ring) end(t *testing.T) {
	t.Helper()
	close(r.stop)
	total := 0
	for range r.peers {
		total += <-r.sent
	}
	eventually(t, "all arrived", func() bool {
		sum := 0
		for _, p := range r.peers {
			sum += p.Frames()
		}
		return sum == total
	})
	for _, p := range r.peers {
		if resets := p.Resets(); len(resets) > 0 {
			t.Errorf("%v: resets %v", p.Self, resets)
		}
	}
	t.Logf("%d frames, each once and in order", total)
}

// serves checks that commands reach a master.
func serves(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	eventually(t, "commands work", func() bool {
		for _, key := range []string{"{a}", "{b}", "{c}", "{d}"} {
			if c.Incr(t.Context(), key).Err() != nil {
				return false
			}
		}
		return true
	})
}

func TestSentinel(t *testing.T) {
	group := redistest.StartSentinel(t, redistest.Config{Password: "s3cret"})
	t.Run("check", func(t *testing.T) { testCheckAll(t, group.URL(), group.Servers[:1]) })
	t.Run("conformance", func(t *testing.T) { conform(t, group.URL(), group.Servers) })
	t.Run("survives", func(t *testing.T) {
		must(t, parse(t, group.URL()).Reach(t.Context(), testLogger(t)))
		client := parse(t, group.URL()).NewClient(t.Context())
		defer func() { must(t, client.Close()) }()
		r := startRing(t, group.URL())
		must(t, group.Failover(t.Context()))
		r.moved("a failover")
		serves(t, client)

		before, err := group.Master(t.Context())
		must(t, err)
		must(t, before.Stop())
		must(t, group.Promoted(t.Context(), before))
		r.moved("a master that hangs")
		serves(t, client)
		must(t, before.Cont())
		r.moved("its return")

		before, err = group.Master(t.Context())
		must(t, err)
		must(t, before.Kill())
		must(t, group.Promoted(t.Context(), before))
		r.moved("a master that died")
		serves(t, client)
		r.end(t)
	})
}

func TestCluster(t *testing.T) {
	group := redistest.StartCluster(t, redistest.Config{Password: "s3cret"})
	t.Run("check", func(t *testing.T) { testCheckAll(t, group.URL(), group.Servers[:3]) })
	t.Run("conformance", func(t *testing.T) { conform(t, group.URL(), group.Servers) })
	t.Run("survives", func(t *testing.T) {
		must(t, parse(t, group.URL()).Reach(t.Context(), testLogger(t)))
		client := parse(t, group.URL()).NewClient(t.Context())
		defer func() { must(t, client.Close()) }()
		r := startRing(t, group.URL())
		inbox := r.buses[0].Channel("n0")
		for range 3 {
			must(t, group.Migrate(t.Context(), inbox))
			r.moved("a migration")
			serves(t, client)
		}
		owner, err := group.Owner(t.Context(), inbox)
		must(t, err)
		must(t, group.FailoverOf(t.Context(), owner))
		r.moved("a failover")
		serves(t, client)

		owner, err = group.Owner(t.Context(), inbox)
		must(t, err)
		must(t, owner.Kill())
		must(t, group.Promoted(t.Context(), owner))
		r.moved("a master that died")
		serves(t, client)
		must(t, owner.Restart())
		r.moved("its return")
		r.end(t)
	})
}
