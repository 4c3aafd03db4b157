package velarosadapter

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/RobertWHurst/velaros"
	velarosjson "github.com/RobertWHurst/velaros/middleware/json"
	"github.com/RobertWHurst/velaros/middleware/msgpack"
	"github.com/RobertWHurst/velaros/middleware/protobuf"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/service"
)

func TestEcho(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	startService(t, bp, "echo", newRouter())
	c := dial(t, serves(t, gw, "/echo"))
	for _, text := range []string{`"a"`, `"b"`, `"c"`} {
		c.send("id-"+text[1:2], "/echo", text)
		c.expect("id-"+text[1:2], `{"echo":`+text+`}`)
	}
}

func TestSocketStorageAndConnectionInfo(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.PublicBind("/set", func(ctx *velaros.Context) {
		ctx.SetOnSocket("name", ctx.MessageID())
		_ = ctx.Send("kept")
	})
	r.PublicBind("/get", func(ctx *velaros.Context) { _ = ctx.Send([]any{ctx.MustGetFromSocket("name")}) })
	r.PublicBind("/info/:what", func(ctx *velaros.Context) {
		_ = ctx.Send([]any{
			ctx.Params().Get("what"), strings.HasPrefix(ctx.RemoteAddr(), "127.0.0.1:"), ctx.Headers().Get("User-Agent"),
			ctx.Headers().Get(HeaderGateway), ctx.Headers().Get(HeaderQuery), ctx.Headers().Get(HeaderSocketID) != "",
		})
	})
	startService(t, bp, "store", r)
	url := serves(t, gw, "/info/x")
	ada, ben := dial(t, url), dial(t, url+"/?room=1")
	ada.send("ada", "/set", "")
	ada.read()
	ben.send("ben", "/set", "")
	ben.read()
	ada.send("1", "/get", "")
	ada.expect("1", `["ada"]`)
	ben.send("1", "/get", "")
	ben.expect("1", `["ben"]`)
	ben.send("2", "/info/x", "")
	ben.expect("2", `["x",true,"tester","public","room=1",true]`)
}

func TestPrivateRoutes(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.Bind("/private", func(*velaros.Context) { t.Error("the private route was reached") })
	startService(t, bp, "echo", r)
	c := dial(t, serves(t, gw, "/echo"))
	c.send("1", "/private", "")
	c.fails("1", "no_route")
	c.send("2", "/echo", `"still there"`)
	c.expect("2", `{"echo":"still there"}`)
}

// fakeConn is a transport that keeps what is sent.
type fakeConn struct {
	sent     chan string
	consumed chan int
}

func (f fakeConn) Send(_ context.Context, m router.Outgoing) error {
	f.sent <- string(m.Data)
	return nil
}
func (f fakeConn) Close(router.Status, string) {}
func (f fakeConn) Consumed(n int)              { f.consumed <- n }

// TestRefusals: what no gateway passes on reaches no handler if one does.
func TestRefusals(t *testing.T) {
	r := velaros.NewRouter()
	r.Use(velarosjson.Middleware(), func(*velaros.Context) { t.Error("a handler was reached") })
	r.PublicBind("/public", func(*velaros.Context) {})
	h := Handler(r)
	h.RouteDescriptors()
	conn := fakeConn{make(chan string, 1), make(chan int, 1)}
	s := h.ServeSocket(router.SocketInfo{}, conn)
	for _, test := range []struct{ message, code string }{
		{`{"id":"1","path":"/private"}`, "no_route"},
		{`{"id":"1","path":"/public","path":"/private"}`, "bad_message"},
		{`{"id":"1","Path":"/private"}`, "bad_message"},
	} {
		s.Deliver(router.MessageText, []byte(test.message))
		if n := within(t, "credit", conn.consumed); n != len(test.message) {
			t.Errorf("%s: %d bytes of credit", test.message, n)
		}
		if answer := within(t, "an answer", conn.sent); !strings.Contains(answer, `"`+test.code+`"`) {
			t.Errorf("%s: answered %s; want %s", test.message, answer, test.code)
		}
	}
	s.End(1000, "", router.ClientCloseSource, false)
	within(t, "the socket ends", s.Done())
}

func TestServerRequestWithPathlessAnswer(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.PublicBind("/delete/:what", func(ctx *velaros.Context) {
		var sure, really bool
		if err := ctx.RequestInto("sure?", &sure); err != nil {
			t.Error(err)
		}
		if err := ctx.RequestInto("really?", &really); err != nil {
			t.Error(err)
		}
		_ = ctx.Send([]any{ctx.Params().Get("what"), sure, really})
	})
	startService(t, bp, "ask", r)
	c := dial(t, serves(t, gw, "/delete/x"))
	c.send("7", "/delete/all", "")
	c.read()
	c.send("7", "", "true")
	c.read()
	c.send("7", "", "false")
	c.expect("7", `["all",true,false]`)
}

func TestOpenAndCloseHooks(t *testing.T) {
	type end struct {
		status velaros.Status
		source velaros.CloseSource
		name   any
	}
	ends := make(chan end, 4)
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.UseOpen(func(ctx *velaros.Context) { ctx.SetOnSocket("opened", true) })
	r.UseClose(func(ctx *velaros.Context) {
		status, _, source := ctx.CloseStatus()
		name, _ := ctx.GetFromSocket("opened")
		ends <- end{status, source, name}
	})
	r.PublicBind("/opened", func(ctx *velaros.Context) { _ = ctx.Send([]any{ctx.MustGetFromSocket("opened")}) })
	r.PublicBind("/throw-out", func(ctx *velaros.Context) { ctx.CloseWithStatus(4001, "out") })
	s := startService(t, bp, "hooks", r)
	url := serves(t, gw, "/opened")

	c := dial(t, url)
	c.send("1", "/opened", "")
	c.expect("1", `[true]`)
	c.leave(4000)
	if got, want := within(t, "the close handler", ends), (end{4000, velaros.ClientCloseSource, true}); got != want {
		t.Errorf("the client left: %v; want %v", got, want)
	}
	c = dial(t, url)
	c.send("1", "/throw-out", "")
	if code := c.closed(); code != 4001 {
		t.Errorf("thrown out with %d", code)
	}
	if got, want := within(t, "the close handler", ends), (end{4001, velaros.ServerCloseSource, true}); got != want {
		t.Errorf("the handler closed: %v; want %v", got, want)
	}
	eventually(t, "no socket is left", func() bool { return s.SocketCount() == 0 })
	if len(ends) > 0 {
		t.Error("a close handler ran twice")
	}
}

// byEncoding decodes what each client speaks, as the package's documentation says.
func byEncoding() func(*velaros.Context) {
	middleware := map[string]func(*velaros.Context){
		"":                 velarosjson.Middleware(),
		"velaros-json":     velarosjson.Middleware(),
		"velaros-msgpack":  msgpack.Middleware(),
		"velaros-protobuf": protobuf.Middleware(),
	}
	return func(ctx *velaros.Context) { middleware[ctx.Headers().Get("Sec-WebSocket-Protocol")](ctx) }
}

func TestEncodings(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := velaros.NewRouter()
	r.Use(byEncoding())
	r.PublicBind("/twice", func(ctx *velaros.Context) {
		if ctx.Headers().Get("Sec-WebSocket-Protocol") == "velaros-protobuf" {
			var n wrapperspb.Int32Value
			if err := ctx.RequestInto(wrapperspb.String("?"), &n); err != nil {
				t.Error(err)
			}
			_ = ctx.Send(wrapperspb.Int32(2 * n.Value))
			return
		}
		var n int8
		if err := ctx.RequestInto("?", &n); err != nil {
			t.Error(err)
		}
		_ = ctx.Send(2 * n)
	})
	startService(t, bp, "encodings", r)
	url := serves(t, gw, "/twice")
	for subprotocol, test := range map[string]struct{ n, twice string }{
		"velaros-json":     {"21", "42"},
		"velaros-msgpack":  {"\x15", "\xd0\x2a"}, // fixint, int8
		"velaros-protobuf": {"\x08\x15", "\x08\x2a"},
	} {
		t.Run(subprotocol, func(t *testing.T) {
			c := dial(t, url, subprotocol)
			c.send("1", "/twice", "")
			if id, _ := c.read(); id != "1" {
				t.Fatalf("asked with id %q", id)
			}
			c.send("1", "", test.n)
			c.expect("1", test.twice)
		})
	}
}

func TestTwoGateways(t *testing.T) {
	bp := startBackplane(t)
	names := []string{"east", "west"}
	r := newRouter()
	r.PublicBind("/where", func(ctx *velaros.Context) { _ = ctx.Send([]any{ctx.Headers().Get(HeaderGateway)}) })
	var clients []*client
	gateways := []string{}
	s := startService(t, bp, "where", r)
	for _, name := range names {
		gateways = append(gateways, serves(t, startGateway(t, bp, name), "/where"))
	}
	for i, url := range gateways {
		c := dial(t, url)
		clients = append(clients, c)
		c.send("1", "/where", "")
		c.expect("1", `["`+names[i]+`"]`)
	}
	if n := s.SocketCount(); n != len(clients) {
		t.Errorf("%d sockets", n)
	}
}

func TestClientVanishes(t *testing.T) {
	closed, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.UseClose(func(*velaros.Context) { closed <- struct{}{} })
	r.PublicBind("/wait", func(ctx *velaros.Context) {
		var answer any
		if err := ctx.RequestInto("?", &answer); err != nil {
			cancelled <- struct{}{}
		}
	})
	s := startService(t, bp, "wait", r)
	c := dial(t, serves(t, gw, "/wait"))
	c.send("1", "/wait", "")
	c.read()
	_ = c.ws.NetConn().Close()
	within(t, "the handler is cancelled", cancelled)
	within(t, "the close handler", closed)
	eventually(t, "no socket is left", func() bool { return s.SocketCount() == 0 })
}

// stopWatch tells when its sockets are asked to end.
type stopWatch struct {
	service.Handler
	ending chan struct{}
}

type watchedSocket struct {
	router.SocketHandler
	ending chan struct{}
}

func (w stopWatch) ServeSocket(info router.SocketInfo, conn router.Conn) router.SocketHandler {
	return watchedSocket{w.Handler.ServeSocket(info, conn), w.ending}
}

func (w watchedSocket) End(status router.Status, reason string, source router.CloseSource, finish bool) {
	w.SocketHandler.End(status, reason, source, finish)
	w.ending <- struct{}{}
}

func TestServiceStop(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	closed := make(chan velaros.CloseSource, 1)
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.UseClose(func(ctx *velaros.Context) {
		_, _, source := ctx.CloseStatus()
		closed <- source
	})
	r.PublicBind("/work", func(ctx *velaros.Context) {
		close(started)
		<-finish
		_ = ctx.Send([]any{"done"})
	})
	watched := stopWatch{Handler(r), make(chan struct{}, 8)}
	s := service.New("work", bp, watched, service.Config{})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serves(t, gw, "/work"))
	c.send("1", "/work", "")
	within(t, "the handler starts", started)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	within(t, "the socket is asked to end", watched.ending)
	close(finish)
	c.expect("1", `["done"]`)
	if code := c.closed(); code != 1012 {
		t.Errorf("closed with %d", code)
	}
	if err := within(t, "the service stops", stopped); err != nil {
		t.Error(err)
	}
	if source := within(t, "the close handler", closed); source != velaros.ServerCloseSource {
		t.Errorf("closed by %v", source)
	}
}

// TestSilentRequestDelaysStop: a request that is never answered does not hold up a
// stop beyond the time that it was given.
func TestSilentRequestDelaysStop(t *testing.T) {
	bp := startBackplane(t)
	gw := startGateway(t, bp, "public")
	r := newRouter()
	r.PublicBind("/silent", func(*velaros.Context) {})
	s := startService(t, bp, "silent", r)
	c := dial(t, serves(t, gw, "/silent"))
	c.send("1", "/silent", "")
	c.send("2", "/echo", `"x"`)
	c.expect("2", `{"echo":"x"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_ = s.Stop(ctx)
	eventually(t, "no socket is left", func() bool { return s.SocketCount() == 0 })
}
