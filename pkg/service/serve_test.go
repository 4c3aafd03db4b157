package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestHandlersSeeTheClient(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		r.PublicBind("/who", func(ctx *router.Context) {
			_ = ctx.Send([]string{
				ctx.SocketID(), ctx.Gateway(), ctx.GatewayNode(), ctx.Instance(), ctx.RemoteAddr(), ctx.Headers().Get("User-Agent"),
				ctx.Headers().Get("Sec-WebSocket-Protocol"), ctx.Query().Get("room"),
			})
		})
		start(t, worker, r, Config{})
		c := connect(t, edge, worker, "s1", func(o *wire.Open) {
			o.RemoteAddr, o.Query = "192.0.2.1:999", "room=7&bad=%zz"
			o.Headers = []wire.HeaderField{{Name: "User-Agent", Value: "test"}}
		})
		c.send(`{"path":"/echo","id":"1","data":{"n":1}}`)
		c.send(`{"path":"/who","id":"2"}`)
		if got := c.receive(0); got.ID != "1" || string(got.Data) != `{"n":1}` {
			t.Errorf("echo gave %+v", got)
		}
		var got []string
		if err := json.Unmarshal(c.receive(1).Data, &got); err != nil {
			t.Fatal(err)
		}
		want := []string{"s1", "public", string(edge.Self().Node), string(worker.Self().Node), "192.0.2.1:999", "test", "velaros-json", "7"}
		if !slices.Equal(got, want) {
			t.Errorf("the handler saw %q, want %q", got, want)
		}
	})
}

// TestPrivateRoutes sends what no gateway would.
func TestPrivateRoutes(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		reached := make(chan string, 10)
		secret := func(ctx *router.Context) { reached <- ctx.Path(); _ = ctx.Send("secret") }
		r.Bind("/health", secret)
		r.PublicBind("/item/:id", func(ctx *router.Context) { _ = ctx.Send(ctx.Params()) })
		r.Bind("/item/hidden", secret)
		start(t, worker, r, Config{})

		routes := worker.Registry().View
		poll(t, "the announcement", func() bool { return routes().Services["svc"] != nil })
		for _, route := range routes().Services["svc"].Routes {
			if strings.Contains(route.Pattern, "he") && route.Pattern != "/echo" {
				t.Errorf("%s was announced", route.Pattern)
			}
		}
		c := connect(t, edge, worker, "s1", nil)
		for i, path := range []string{"/health", "/HEALTH", "/health/", "/item/../health", "/nowhere"} {
			c.send(`{"path":%q,"id":"%d"}`, path, i)
			got := c.receive(i)
			if !strings.Contains(string(got.Data), `"code":"no_route"`) || got.ID != fmt.Sprint(i) {
				t.Errorf("%s was answered with %+v", path, got)
			}
		}
		// Within a public pattern there is no private route.
		c.send(`{"path":"/item/hidden","id":"x"}`)
		if got := c.receive(5); string(got.Data) != `{"id":"hidden"}` {
			t.Errorf("/item/hidden was answered with %s", got.Data)
		}
		select {
		case path := <-reached:
			t.Errorf("the private handler ran for %s", path)
		default:
		}
	})
}

func TestUnknownServiceIsRefused(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		start(t, worker, newRouter(), Config{})
		c := connect(t, edge, worker, "s1", func(o *wire.Open) { o.Service = "other" })
		c.await("Refuse", func() bool { return c.refused != nil })
		if c.refused.Code != wire.CodeUnavailable {
			t.Errorf("refused with %+v", c.refused)
		}
	})
}

func TestServerRequest(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		r.PublicBind("/ask", func(ctx *router.Context) {
			var answer string
			if err := ctx.RequestInto("ready?", &answer); err != nil {
				ctx.Error = err
				return
			}
			_ = ctx.Send([]string{"you said", answer})
		})
		start(t, worker, r, Config{})
		c := connect(t, edge, worker, "s1", nil)
		c.send(`{"path":"/ask","id":"q"}`)
		question := c.receive(0)
		c.mu.Lock()
		announced := c.data[0].ID
		c.mu.Unlock()
		if announced == "" || announced != question.ID {
			t.Fatalf("the frame announces id %q, the message has %q: the answer would not find its way", announced, question.ID)
		}
		c.send(`{"id":%q,"data":"yes"}`, question.ID)
		if got := c.receive(1); string(got.Data) != `["you said","yes"]` {
			t.Errorf("the handler answered %s", got.Data)
		}
	})
}

// TestSlowHandlerHoldsItsClientBack fills one socket's window, and looks whether
// another socket on the same link still works.
func TestSlowHandlerHoldsItsClientBack(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		release := make(chan struct{})
		var mu sync.Mutex
		var order []int
		r.PublicBind("/slow", func(ctx *router.Context) {
			<-release
			var n int
			if err := ctx.Unmarshal(&n); err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, n)
			mu.Unlock()
		})
		// Handlers keep their turn for as long as they like.
		patient, err := router.New(router.Config{TurnTimeout: -1})
		if err != nil {
			t.Fatal(err)
		}
		patient.Use(r)
		start(t, worker, patient, Config{})
		slow := connect(t, edge, worker, "slow", nil)
		fast := connect(t, edge, worker, "fast", nil)

		sent := 0
		for slow.hasCredit() {
			slow.send(`{"path":"/slow","data":%d,"meta":{"fill":%q}}`, sent, strings.Repeat("x", 1000))
			sent++
		}
		if limit := wire.DefaultWindow / 1000; sent > limit {
			t.Errorf("%d messages of 1 KB were sent ahead; the window holds %d", sent, limit)
		}
		fast.send(`{"path":"/echo","id":"1","data":"quick"}`)
		fast.receive(0) // answered while the other waits
		if slow.hasCredit() {
			t.Error("credit was granted although nothing was handled")
		}

		close(release)
		poll(t, "the handling of all messages", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(order) == sent
		})
		if !slices.IsSorted(order) {
			t.Error("messages were handled out of order")
		}
		slow.await("credit", func() bool { return slow.credit > wire.DefaultWindow/2 })
	})
}

// TestSlowClientHoldsItsHandlerBack lets a client take little at a time.
func TestSlowClientHoldsItsHandlerBack(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		const messages, size, step = 100, 1000, 10_000
		r := newRouter()
		r.PublicBind("/flood", func(ctx *router.Context) {
			for i := range messages {
				if err := ctx.Send([]any{i, strings.Repeat("x", size)}); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
		})
		var waited atomic.Int64
		start(t, worker, r, Config{Hooks: Hooks{MessageSent: func(_ int, d time.Duration) { waited.Store(max(waited.Load(), int64(d))) }}})
		slow := connect(t, edge, worker, "slow", func(o *wire.Open) { o.Credit = step })
		fast := connect(t, edge, worker, "fast", nil)
		slow.send(`{"path":"/flood"}`)
		cost := func() int { // of what was received
			sum := 0
			for _, d := range slow.data {
				sum += d.Cost()
			}
			return sum
		}
		for granted := step; ; granted += step {
			all := false
			slow.await("what was granted", func() bool {
				all = len(slow.data) == messages
				return all || cost() >= granted
			})
			fast.send(`{"path":"/echo","id":"1","data":"quick"}`)
			fast.receive(granted/step - 1) // by then, what was sent without credit would be here
			if got := cost(); got >= granted+2*size {
				t.Fatalf("%d bytes came on credit for %d", got, granted)
			}
			if all {
				break
			}
			slow.grant(step)
		}
		for i := range messages {
			if got := slow.receive(i).Data; !strings.HasPrefix(string(got), fmt.Sprintf("[%d,", i)) {
				t.Fatalf("message %d starts with %.20s", i, got)
			}
		}
		if waited.Load() == 0 {
			t.Error("no message is known to have waited")
		}
	})
}

// TestCloseUnblocksSend ends a socket whose handler waits for credit.
func TestCloseUnblocksSend(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		sending := make(chan struct{})
		result := make(chan error, 1)
		r.PublicBind("/flood", func(ctx *router.Context) {
			for {
				if err := ctx.Send("more"); err != nil {
					result <- err
					return
				}
				select {
				case sending <- struct{}{}:
				default:
				}
			}
		})
		start(t, worker, r, Config{})
		c := connect(t, edge, worker, "s1", func(o *wire.Open) { o.Credit = 1 })
		c.send(`{"path":"/flood"}`)
		c.receive(0)
		c.close(wire.Close{Status: 1001, Source: wire.SourceClient})
		select {
		case err := <-result:
			if err == nil {
				t.Error("Send succeeded on a closed socket")
			}
		case <-time.After(patience):
			t.Fatal("Send still blocks")
		}
		c.awaitClosed()
	})
}

// ending is what a UseClose handler saw.
type ending struct {
	Socket string
	Status router.Status
	Reason string
	Source router.CloseSource
}

// endings records what UseClose handlers see.
type endings struct {
	mu   sync.Mutex
	seen []ending
}

func (e *endings) handle(ctx *router.Context) {
	status, reason, source := ctx.CloseStatus()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, ending{ctx.SocketID(), status, reason, source})
}

func (e *endings) all() []ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen)
}

func (e *endings) check(t *testing.T, want ...ending) {
	t.Helper()
	poll(t, "UseClose", func() bool { return len(e.all()) >= len(want) })
	if got := e.all(); !slices.Equal(got, want) {
		t.Errorf("UseClose saw %+v, want %+v", got, want)
	}
}

func TestUseClose(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c *client)
		want ending
	}{
		"client leaves": {
			func(c *client) { c.close(wire.Close{Status: 1001, Reason: "bye", Source: wire.SourceClient}) },
			ending{"s1", 1001, "bye", router.ClientCloseSource},
		},
		"handler closes": {
			func(c *client) {
				c.send(`{"path":"/kick"}`)
				c.await("Close", func() bool { return len(c.closes) == 1 })
				c.close(wire.Close{Status: c.closes[0].Status, Reason: c.closes[0].Reason, Source: wire.SourceServer})
			},
			ending{"s1", 4000, "kicked", router.ServerCloseSource},
		},
		"handed off": {
			func(c *client) { c.close(wire.Close{Source: wire.SourceHandoff, Finish: true}) },
			ending{"s1", 1012, "handed to another instance", router.ServerCloseSource},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
				var seen endings
				r := newRouter()
				r.UseClose(seen.handle)
				r.PublicBind("/kick", func(ctx *router.Context) { ctx.CloseWithStatus(4000, "kicked") })
				s := start(t, worker, r, Config{})
				c := connect(t, edge, worker, "s1", nil)
				c.send(`{"path":"/echo","id":"1"}`)
				c.receive(0)
				tt.end(c)
				c.awaitClosed()
				seen.check(t, tt.want)
				poll(t, "the end of the socket", func() bool { return s.SocketCount() == 0 })
			})
		})
	}
}

// TestGatewayLost closes the backplane of a gateway without a word.
func TestGatewayLost(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	edge, worker := openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker")
	var seen endings
	r := newRouter()
	r.UseClose(seen.handle)
	stuck := make(chan struct{})
	r.PublicBind("/wait", func(ctx *router.Context) { close(stuck); <-ctx.Done() })
	start(t, worker, r, Config{})
	c := connect(t, edge, worker, "s1", nil)
	c.send(`{"path":"/wait"}`)
	<-stuck
	worker.Mesh().Forget(edge.Self()) // as the registry's view does
	seen.check(t, ending{"s1", 1012, "gateway lost", router.ServerCloseSource})
}

func TestStartReportsWhatIsWrong(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	bp := openBackplane(t, srv.URL(), "node")
	err := New("Not A Slug", nil, nil, Config{
		Gateways: []string{"UP"}, OnInstanceLoss: "maybe", SocketWindow: 10,
	}).Run(t.Context())
	for _, want := range []string{"name", "backplane", "handler", `"UP"`, `"maybe"`, "SocketWindow"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}

	for want, option := range map[string]router.RouteOption{
		`route "/broken": schema: `: router.WithSchema(`{"type":"nonsense"}`),
		`a rate of -1`:              router.WithRate(-1, 0),
	} {
		r := newRouter()
		r.PublicBind("/broken", option, func(*router.Context) {})
		if err := New("broken", bp, r, Config{}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}

	s := start(t, bp, newRouter(), Config{})
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "started before") {
		t.Errorf("second Start: %v", err)
	}
	if err := New("svc", bp, newRouter(), Config{}).Start(t.Context()); err == nil {
		t.Error("two instances of one service run on one node")
	}

	// Another service that announces the same path. Its failure leaves nothing
	// behind, so that it fails again in the same way.
	for range 2 {
		rival := New("rival", bp, newRouter(), Config{})
		var conflict *registry.ErrRouteConflict
		if err := rival.Start(t.Context()); !errors.As(err, &conflict) || conflict.Owner != "svc" {
			t.Errorf("the rival started: %v", err)
		}
		if err := rival.Stop(t.Context()); err != nil {
			t.Errorf("Stop of what has not started: %v", err)
		}
	}
}

func TestRunEndsWithItsBackplane(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	bp := openBackplane(t, srv.URL(), "node")
	s := New("svc", bp, newRouter(), Config{})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	poll(t, "the start", func() bool { v := bp.Registry().View(); return v.Services["svc"] != nil })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	closed := bp.Close(ctx)
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "backplane was closed") {
			t.Errorf("Run returned %v", err)
		}
	case <-ctx.Done():
		t.Fatalf("Run did not return; Close of the backplane gave %v", closed)
	}
}

func TestHooksCount(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		var opened, closed, received, bytes, started, sent atomic.Int64
		s := start(t, worker, newRouter(), Config{Hooks: Hooks{
			SocketOpened: func(gateway string) {
				if gateway == "public" {
					opened.Add(1)
				}
			},
			SocketClosed: func(gateway string, status wire.CloseCode, source wire.CloseSource) {
				if gateway == "public" && status == 1001 && source == wire.SourceClient {
					closed.Add(1)
				}
			},
			MessageReceived: func(n int) { received.Add(1); bytes.Add(int64(n)) },
			MessageStarted: func(queued time.Duration) {
				if queued >= 0 && queued < patience {
					started.Add(1)
				}
			},
			MessageSent: func(n int, _ time.Duration) { sent.Add(int64(n)) },
		}})
		c := connect(t, edge, worker, "s1", nil)
		message := `{"path":"/echo","id":"1","data":[]}`
		answers := 0
		for i := range 10 {
			c.send("%s", message)
			c.receive(i)
			answers += len(`{"id":"1","data":[]}`)
		}
		if s.SocketCount() != 1 {
			t.Errorf("%d sockets", s.SocketCount())
		}
		c.close(wire.Close{Status: 1001, Source: wire.SourceClient})
		c.awaitClosed()
		poll(t, "the hooks", func() bool { return closed.Load() == 1 && sent.Load() == int64(answers) })
		if opened.Load() != 1 || received.Load() != 10 || bytes.Load() != int64(10*len(message)) || started.Load() < 1 {
			t.Errorf("opened %d, received %d with %d bytes, started %d", opened.Load(), received.Load(), bytes.Load(), started.Load())
		}
	})
}
