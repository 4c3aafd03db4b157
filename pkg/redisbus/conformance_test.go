package redisbus

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// interrupt closes the subscribed connection of a bus, as Redis does with a
// subscriber that falls behind.
func interrupt(t *testing.T, srv *redistest.Server, b *Bus) {
	t.Helper()
	name := "name=boreas-" + string(b.cfg.Node) + "-sub "
	for line := range strings.Lines(srv.Client().ClientList(context.Background()).Val()) {
		var id string
		if _, err := fmt.Sscanf(line, "id=%s", &id); err == nil && strings.Contains(line, name) {
			must(t, srv.Client().ClientKillByFilter(context.Background(), "ID", id).Err())
		}
	}
}

func TestConformance(t *testing.T) {
	srv := server(t)
	var nodes atomic.Int64
	linktest.Run(t, linktest.Harness{
		New: func(t *testing.T) link.Bus {
			cfg := calm(t, srv.URL())
			cfg.Node = wire.NodeID(fmt.Sprint("bus-", nodes.Add(1)))
			return start(t, cfg)
		},
		Interrupt: func(b link.Bus) { interrupt(t, srv, b.(*Bus)) },
	})
}

// TestMeshSurvives: links over Redis lose nothing and reset nothing while Redis is
// killed, frozen and paused, and its connections are closed.
func TestMeshSurvives(t *testing.T) {
	srv := server(t)
	var peers []*linktest.Peer
	var buses []*Bus
	for i := range 3 {
		node := wire.NodeID(fmt.Sprint("n", i))
		cfg := quick(t, srv.URL())
		cfg.Node = node
		buses = append(buses, start(t, cfg))
		peers = append(peers, linktest.StartPeer(t, buses[i], wire.Incarnation{Node: node, Epoch: 1}, link.Config{}))
	}
	stop := make(chan struct{})
	sent := make(chan int, len(peers))
	for i, p := range peers {
		to := peers[(i+1)%len(peers)].Self
		go func() {
			n := 0
			defer func() { sent <- n }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := p.Send(to, 1, n, 100, 200); err != nil {
					t.Error(err)
					return
				}
				n += 100
			}
		}()
	}
	moved := func(what string) {
		t.Helper()
		for _, p := range peers {
			before := p.Frames()
			p.Wait("frames after "+what, func() bool { return p.Frames() > before+500 })
		}
	}
	moved("the start")
	for range 2 {
		must(t, srv.Restart())
		moved("kill -9 and restart")
		must(t, srv.Stop())
		eventually(t, "the freeze is noticed", func() bool { return !buses[0].Healthy() })
		must(t, srv.Cont())
		moved("a freeze")
		must(t, srv.Client().Do(t.Context(), "client", "pause", "400", "all").Err())
		moved("a pause")
		must(t, srv.Client().Do(t.Context(), "client", "kill", "type", "pubsub").Err())
		must(t, srv.Client().Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err())
		moved("killed connections")
	}
	close(stop)
	total := 0
	for range peers {
		total += <-sent
	}
	eventually(t, "all arrived", func() bool {
		sum := 0
		for _, p := range peers {
			sum += p.Frames()
		}
		return sum == total
	})
	for _, p := range peers {
		if r := p.Resets(); len(r) > 0 {
			t.Errorf("%v: resets %v", p.Self, r)
		}
	}
	t.Logf("%d frames, each once and in order", total)
}
