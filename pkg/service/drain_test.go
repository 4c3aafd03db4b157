package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// traffic is a client that sends numbered messages through a gateway's hands,
// follows the instance's wishes, and keeps what comes back.
type traffic struct {
	tb     testing.TB
	socket string
	edge   *backplane.Backplane

	mu      sync.Mutex
	sent    int
	replies []string
	closed  *wire.Close // what the client was told
}

// run sends until stop is closed, to the first instance and, when that hands the
// socket back, to the next.
func (f *traffic) run(instances []*backplane.Backplane, stop <-chan struct{}) {
	for _, instance := range instances {
		c := connect(f.tb, f.edge, instance, f.socket, nil)
		c.mu.Lock()
		c.reads = true
		c.mu.Unlock()
		if !f.session(c, stop) {
			return
		}
	}
}

// session sends on one stream until it ends; it reports whether the socket goes on.
func (f *traffic) session(c *client, stop <-chan struct{}) bool {
	unanswered := func() int { return f.sent - len(f.replies) - len(c.data) }
	for {
		select {
		case <-stop:
			c.await("the last replies", func() bool { return unanswered() == 0 })
			return f.leave(c, wire.Close{Status: 1001, Source: wire.SourceClient}, false)
		default:
		}
		c.await("a reply, or the instance's wish to go", func() bool {
			return unanswered() < 16 || c.released > 0 || len(c.closes) > 0
		})
		c.mu.Lock()
		released, closes := c.released > 0, c.closes
		c.mu.Unlock()
		switch {
		case released:
			return f.leave(c, wire.Close{Source: wire.SourceHandoff, Finish: true}, true)
		case len(closes) > 0:
			f.closed = &closes[0]
			return f.leave(c, wire.Close{Status: closes[0].Status, Reason: closes[0].Reason, Source: wire.SourceServer, Finish: true}, false)
		}
		c.send(`{"path":"/work","id":"%d"}`, f.sent)
		f.mu.Lock()
		f.sent++
		f.mu.Unlock()
	}
}

// leave ends the stream in order and collects what it brought.
func (f *traffic) leave(c *client, m wire.Close, goesOn bool) bool {
	c.close(m)
	c.awaitClosed()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.data {
		f.replies = append(f.replies, string(d.Payload))
	}
	return goesOn
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// check wants a reply to each message, once and in order.
func (f *traffic) check() {
	f.tb.Helper()
	if len(f.replies) != f.sent {
		f.tb.Errorf("%s: %d replies to %d messages", f.socket, len(f.replies), f.sent)
		return
	}
	for i, reply := range f.replies {
		if !strings.Contains(reply, fmt.Sprintf(`"id":"%d"`, i)) {
			f.tb.Errorf("%s: reply %d is %s", f.socket, i, reply)
			return
		}
	}
}

// TestDrainLosesNothing stops an instance under load, with both policies.
func TestDrainLosesNothing(t *testing.T) {
	for _, policy := range []registry.Policy{registry.PolicyClose, registry.PolicyRepin} {
		t.Run(string(policy), func(t *testing.T) {
			srv := redistest.Start(t, redistest.Config{})
			edge := openBackplane(t, srv.URL(), "edge")
			first, second := openBackplane(t, srv.URL(), "first"), openBackplane(t, srv.URL(), "second")
			var seen endings
			r := newRouter()
			r.UseClose(seen.handle)
			handled := make(chan struct{}, 1<<20)
			r.PublicBind("/work", func(ctx *router.Context) {
				handled <- struct{}{}
				_ = ctx.Send("done")
			})
			var progress []string
			draining := start(t, first, r, Config{OnInstanceLoss: policy, Hooks: Hooks{
				Drained: func(left, total int) { progress = append(progress, fmt.Sprintf("%d/%d", left, total)) },
			}})
			start(t, second, r, Config{OnInstanceLoss: policy})

			const sockets = 8
			flows := make([]*traffic, sockets)
			stop := make(chan struct{})
			var running sync.WaitGroup
			for i := range flows {
				flows[i] = &traffic{tb: t, socket: fmt.Sprint("s", i), edge: edge}
				running.Go(func() { flows[i].run([]*backplane.Backplane{first, second}, stop) })
			}
			poll(t, "traffic of all", func() bool { return len(handled) > 500 && draining.SocketCount() == sockets })
			if err := draining.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if n := draining.SocketCount(); n != 0 {
				t.Errorf("%d sockets are left after the stop", n)
			}
			if len(progress) < 2 || progress[0] != "8/8" || progress[len(progress)-1] != "0/8" { // more if it takes long
				t.Errorf("progress was %v", progress)
			}
			before := 0
			for _, f := range flows {
				before += f.count()
			}
			if policy == registry.PolicyRepin {
				poll(t, "traffic on the other instance", func() bool { return len(handled) > before+500 })
			}
			close(stop)
			running.Wait()
			for _, f := range flows {
				f.check()
				restarted := f.closed != nil && f.closed.Status == wire.CloseRestart
				if want := policy == registry.PolicyClose; restarted != want {
					t.Errorf("the client was told %+v", f.closed)
				}
			}
			ends := map[string]int{}
			for _, e := range seen.all() {
				ends[fmt.Sprint(e.Status, " ", e.Reason, " ", e.Source)]++
			}
			reason := map[registry.Policy]string{
				registry.PolicyClose: "1012 service restart 1",
				registry.PolicyRepin: "1012 handed to another instance 1",
			}
			if ends[reason[policy]] != sockets {
				t.Errorf("UseClose saw %v", ends)
			}
		})
	}
}

// TestDrainTakesLateSockets opens a socket while the instance drains, as a gateway
// does whose pin was made just before.
func TestDrainTakesLateSockets(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
	r := newRouter()
	working, release := make(chan struct{}), make(chan struct{})
	r.PublicBind("/work", func(ctx *router.Context) {
		close(working)
		<-release
		_ = ctx.Send(true)
	})
	s := start(t, worker, r, Config{OnInstanceLoss: registry.PolicyRepin})
	early := connect(t, edge, worker, "early", nil)
	early.send(`{"path":"/work","id":"1"}`)
	<-working
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	early.await("Release", func() bool { return early.released == 1 })
	poll(t, "the state draining", func() bool {
		v := edge.Registry().View().Services["svc"]
		return v != nil && v.Instances["worker"].State == registry.StateDraining
	})

	late := connect(t, edge, worker, "late", nil)
	late.send(`{"path":"/echo","id":"1"}`)
	late.receive(0)
	late.await("Release", func() bool { return late.released == 1 })
	late.close(wire.Close{Source: wire.SourceHandoff, Finish: true})
	late.awaitClosed()

	early.close(wire.Close{Source: wire.SourceHandoff, Finish: true})
	close(release)
	early.awaitClosed()
	if got := early.receive(0); string(got.Data) != `true` {
		t.Errorf("the message in flight was answered with %s", got.Data)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	// The gateway's node may have forgotten the instance's by now; its own has not.
	refused := connect(t, worker, worker, "refused", nil)
	refused.await("Refuse", func() bool { return refused.refused != nil })
	poll(t, "the withdrawal", func() bool {
		v := edge.Registry().View().Services["svc"]
		return v == nil || len(v.Instances) == 0
	})
}

// TestDrainTimeout stops an instance whose handlers do not finish.
func TestDrainTimeout(t *testing.T) {
	hurry := func(s *Service) error { return s.Stop(context.Background()) }
	for name, tt := range map[string]struct {
		timeout time.Duration
		stop    func(s *Service) error
	}{
		"timeout": {50 * time.Millisecond, hurry},
		"none":    {-1, hurry},
		"hard stop": {time.Hour, func(s *Service) error {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			return s.Stop(ended)
		}},
		"second stop hurries the first": {time.Hour, func(s *Service) error {
			first := make(chan error, 1)
			go func() { first <- s.Stop(context.Background()) }()
			poll(t, "the drain", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.draining
			})
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			second := s.Stop(ended)
			if err := <-first; !errors.Is(err, second) {
				t.Errorf("the first Stop gave %v, the second %v", err, second)
			}
			return second
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t, redistest.Config{})
			edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
			var seen endings
			r := newRouter()
			r.UseClose(seen.handle)
			working := make(chan struct{})
			r.PublicBind("/wait", func(ctx *router.Context) { close(working); <-ctx.Done() })
			s := start(t, worker, r, Config{DrainTimeout: tt.timeout})
			c := connect(t, edge, worker, "s1", nil)
			c.send(`{"path":"/wait"}`)
			<-working
			if err := tt.stop(s); !errors.Is(err, ErrUnfinished) {
				t.Errorf("Stop gave %v", err)
			}
			seen.check(t, ending{"s1", 1012, "service restart", router.ServerCloseSource})
			c.awaitClosed() // the gateway knows, although it has not answered
			if want := (wire.Close{Status: 1012, Reason: "service restart", Source: wire.SourceServer, Finish: true}); !slices.Equal(c.closes, []wire.Close{want}) {
				t.Errorf("the gateway was told %+v", c.closes)
			}
			if s.SocketCount() != 0 {
				t.Error("a socket is left")
			}
		})
	}
}

// TestStuckHandlerIsLeftBehind stops an instance with a handler that ignores its
// context.
func TestStuckHandlerIsLeftBehind(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
	r := newRouter()
	working, release := make(chan struct{}), make(chan struct{})
	r.PublicBind("/stuck", func(*router.Context) { close(working); <-release })
	s := start(t, worker, r, Config{DrainTimeout: -1, CloseGrace: 20 * time.Millisecond})
	c := connect(t, edge, worker, "s1", nil)
	c.send(`{"path":"/stuck"}`)
	<-working
	if err := s.Stop(t.Context()); !errors.Is(err, ErrUnfinished) {
		t.Errorf("Stop gave %v", err)
	}
	if s.SocketCount() != 1 {
		t.Error("the stuck socket is not counted")
	}
	close(release)
	poll(t, "the end of the socket", func() bool { return s.SocketCount() == 0 })
}

// TestRunDrains covers the whole life through Run.
func TestRunDrains(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New("svc", worker, newRouter(), Config{}).Run(ctx) }()
	poll(t, "the announcement", func() bool { return edge.Registry().View().Services["svc"] != nil })
	c := connect(t, edge, worker, "s1", nil)
	c.send(`{"path":"/echo","id":"1"}`)
	c.receive(0)
	cancel()
	c.await("Close", func() bool { return len(c.closes) == 1 })
	c.close(wire.Close{Status: 1012, Source: wire.SourceServer, Finish: true})
	if err := <-ended; err != nil {
		t.Errorf("Run gave %v", err)
	}
}

// TestStopWaitsForOpens opens a socket on an instance that had none when its stop
// began.
func TestStopWaitsForOpens(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
	s := start(t, worker, newRouter(), Config{OnInstanceLoss: registry.PolicyRepin, DrainTimeout: time.Hour})
	s.settle = time.Hour
	ctx, hurry := context.WithCancel(t.Context())
	defer hurry()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	poll(t, "the state draining", func() bool {
		v := edge.Registry().View().Services["svc"]
		return v != nil && v.Instances["worker"].State == registry.StateDraining
	})
	c := connect(t, edge, worker, "late", nil)
	c.send(`{"path":"/echo","id":"1","data":[]}`)
	c.receive(0)
	c.await("Release", func() bool { return c.released == 1 })
	c.close(wire.Close{Source: wire.SourceHandoff, Finish: true})
	c.awaitClosed()
	poll(t, "the end of the socket", func() bool { return s.SocketCount() == 0 })
	hurry()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestDeparturesAreSpread tells many sockets to leave.
func TestDeparturesAreSpread(t *testing.T) {
	for name, tt := range map[string]struct {
		sockets int
		timeout time.Duration
		want    time.Duration
	}{
		"few":       {paceGroup, 10 * time.Second, 0},
		"some":      {10 * paceGroup, 10 * time.Second, 9 * paceStep},
		"very many": {200_000, 10 * time.Second, 5*time.Second - paceStep},
		"no time":   {10_000, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newStageWith(Config{DrainTimeout: tt.timeout})
				sockets := make([]*socket, tt.sockets)
				for i := range sockets {
					sockets[i] = &socket{service: g.service, stream: g.tape}
				}
				patience, cancel := context.WithTimeout(t.Context(), max(tt.timeout, 0))
				defer cancel()
				began := time.Now()
				g.service.departAll(patience, sockets)
				if took := time.Since(began); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if n := g.tape.count(wire.KindClose); n != tt.sockets {
					t.Errorf("%d of %d were told", n, tt.sockets)
				}
			})
		})
	}
}

func TestRunThatIsNotToRun(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New("svc", openBackplane(t, srv.URL(), "worker"), newRouter(), Config{}).Run(ctx); err != nil {
		t.Errorf("Run gave %v", err)
	}
	if err := New("svc", nil, nil, Config{}).Run(t.Context()); err == nil {
		t.Error("Run without a backplane gave no error")
	}
}
