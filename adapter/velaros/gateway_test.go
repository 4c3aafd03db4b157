package velarosadapter

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/RobertWHurst/velaros"
	velarosjson "github.com/RobertWHurst/velaros/middleware/json"
	"github.com/RobertWHurst/velaros/middleware/msgpack"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// front serves a Velaros router with mounted gateways before a local route.
func front(t *testing.T, mounted ...*Middleware) string {
	t.Helper()
	r := velaros.NewRouter()
	r.Use(velarosjson.Middleware())
	for _, m := range mounted {
		r.Use(m)
	}
	r.Bind("/local", func(ctx *velaros.Context) { _ = ctx.Send("local") })
	r.Bind("/ask", func(ctx *velaros.Context) {
		var answer string
		if err := ctx.RequestInto("?", &answer); err == nil {
			_ = ctx.Send([]any{"asked", answer})
		}
	})
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return server.URL
}

func (m *Middleware) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

func TestGatewayForwards(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "mounted")
	push := make(chan struct{})
	r := newRouter()
	r.PublicBind("/subscribe", func(ctx *velaros.Context) {
		for range push {
			_ = ctx.Send([]any{"pushed"})
		}
	})
	r.PublicBind("/confirm", func(ctx *velaros.Context) {
		var answer string
		if err := ctx.RequestInto("?", &answer); err != nil {
			t.Error(err)
		}
		_ = ctx.Send([]any{"confirmed", answer, ctx.Headers().Get(HeaderGateway), ctx.Headers().Get("User-Agent")})
	})
	startService(t, bp, "far", r)
	serves(t, gw, "/echo")
	m := Gateway(gw)
	c := dial(t, front(t, m))

	c.send("1", "/local", "")
	c.read()
	if n := gw.SocketCount(); n != 0 {
		t.Errorf("a local message made %d sockets at the gateway", n)
	}
	c.send("2", "/echo", `"there"`)
	c.expect("2", `{"echo":"there"}`)
	c.send("3", "/subscribe", "")
	for range 3 {
		push <- struct{}{}
		c.expect("3", `["pushed"]`)
	}
	close(push)
	c.send("4", "/confirm", "")
	c.read()
	c.send("4", "", `"yes"`)
	c.expect("4", `["confirmed","yes","mounted","tester"]`)
	c.send("5", "/ask", "")
	c.read()
	c.send("5", "/ask", `"here"`)
	c.expect("5", `["asked","here"]`)
	if n := gw.SocketCount(); n != 1 {
		t.Errorf("%d sockets at the gateway", n)
	}
}

func TestGatewayClosePropagates(t *testing.T) {
	type end struct {
		status velaros.Status
		source velaros.CloseSource
	}
	ends := make(chan end, 2)
	bp := startBackplane(t)
	gw := startGateway(t, bp, "mounted")
	r := newRouter()
	r.UseClose(func(ctx *velaros.Context) {
		status, _, source := ctx.CloseStatus()
		ends <- end{status, source}
	})
	r.PublicBind("/throw-out", func(ctx *velaros.Context) { ctx.CloseWithStatus(4001, "out") })
	startService(t, bp, "far", r)
	serves(t, gw, "/echo")
	m := Gateway(gw)
	url := front(t, m)
	gone := func() bool { return m.count() == 0 && gw.SocketCount() == 0 }

	c := dial(t, url)
	c.send("1", "/echo", `"x"`)
	c.read()
	c.leave(4000)
	if got, want := within(t, "the close handler", ends), (end{4000, velaros.ClientCloseSource}); got != want {
		t.Errorf("the client left: %v; want %v", got, want)
	}
	eventually(t, "the session is gone", gone)

	c = dial(t, url)
	c.send("1", "/throw-out", "")
	// Velaros may end the connection without a close frame: see the documentation.
	if code := c.closed(); code != 4001 && code != websocket.CloseAbnormalClosure {
		t.Errorf("thrown out with %d", code)
	}
	within(t, "the close handler", ends)
	eventually(t, "the session is gone", gone)
}

func TestSeveralGateways(t *testing.T) {
	var mounted []*Middleware
	for _, name := range []string{"one", "two"} {
		bp := startBackplane(t)
		gw := startGateway(t, bp, name)
		r := velaros.NewRouter()
		r.Use(velarosjson.Middleware())
		answer := func(ctx *velaros.Context) { _ = ctx.Send([]any{ctx.Path(), name}) }
		r.PublicBind("/both", answer)
		r.PublicBind("/"+name, answer)
		startService(t, bp, name, r)
		serves(t, gw, "/"+name)
		mounted = append(mounted, Gateway(gw))
	}
	c := dial(t, front(t, mounted...))
	for path, name := range map[string]string{"/both": "one", "/one": "one", "/two": "two"} {
		c.send(path, path, "")
		c.expect(path, `["`+path+`","`+name+`"]`)
	}
}

// TestBinaryWithoutSubprotocol: Velaros clients need not name what they speak.
func TestBinaryWithoutSubprotocol(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "mounted")
	far := velaros.NewRouter()
	far.Use(byEncoding())
	far.PublicBind("/far", func(ctx *velaros.Context) { _ = ctx.Send(int8(1)) })
	startService(t, bp, "far", far)
	serves(t, gw, "/far")
	r := velaros.NewRouter()
	r.Use(msgpack.Middleware(), Gateway(gw))
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c := dial(t, server.URL)
	c.encoding = envelope.MsgPack
	c.send("1", "/far", "")
	c.expect("1", "\xd0\x01")
}

// TestGatewayCloseWhileHeldBack: a client that leaves while its messages wait for a
// busy service leaves no session behind.
func TestGatewayCloseWhileHeldBack(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 64)
	bp := startBackplane(t)
	gw := startGateway(t, bp, "mounted")
	busy, err := router.New(router.Config{TurnTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	busy.Use(json.Middleware())
	busy.PublicBind("/busy", func(*router.Context) {
		started <- struct{}{}
		<-release
	})
	s := service.New("busy", bp, busy, service.Config{})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	serves(t, gw, "/busy")
	m := Gateway(gw)
	c := dial(t, front(t, m))
	data := `"` + strings.Repeat("x", 32<<10-1024) + `"` // more than a Velaros server reads is closed
	for range 20 {
		c.send("", "/busy", data)
	}
	within(t, "the handler starts", started)
	c.leave(1000)
	eventually(t, "the session is gone", func() bool { return m.count() == 0 })
	close(release)
	eventually(t, "the gateway's socket is gone", func() bool { return gw.SocketCount() == 0 })
}
