package service

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// edge is a real gateway.
type edge struct {
	tb      testing.TB
	gateway *gateway.Gateway
	bp      *backplane.Backplane
	server  *httptest.Server
	cancel  context.CancelFunc
}

// openEdge runs a gateway, and returns when it serves /echo.
func openEdge(tb testing.TB, url string, id wire.NodeID, cfg backplane.Config) *edge {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg.NodeID = id
	bp, err := backplane.Open(ctx, url, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	gw, err := gateway.New("public", bp, gateway.Config{DrainWindow: -1})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	e := &edge{tb: tb, gateway: gw, bp: bp, server: httptest.NewServer(gw), cancel: cancel}
	tb.Cleanup(func() {
		cancel()
		<-ended // with an error where the test ended its node
		e.server.Close()
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = bp.Close(over)
	})
	poll(tb, "the gateway's readiness", func() bool { return gw.Ready() == nil && gw.CanServePath("/echo") })
	return e
}

// dial connects a client.
func (e *edge) dial() *websocket.Conn {
	e.tb.Helper()
	d := websocket.Dialer{Subprotocols: []string{"velaros-json"}}
	ws, resp, err := d.DialContext(e.tb.Context(), "ws"+strings.TrimPrefix(e.server.URL, "http"), http.Header{})
	if err != nil {
		e.tb.Fatal(err)
	}
	_ = resp.Body.Close()
	e.tb.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		e.tb.Fatal(err)
	}
	return ws
}

// call sends a request and reads its answer.
func call(tb testing.TB, ws *websocket.Conn, path, id, data string) string {
	tb.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":%q,"id":%q,"data":%s}`, path, id, data)); err != nil {
		tb.Fatal(err)
	}
	_, m, err := ws.ReadMessage()
	if err != nil {
		tb.Fatal(err)
	}
	return string(m)
}

func workRouter(work func(ctx *router.Context), closed ...any) *router.Router {
	r := newRouter()
	r.UseClose(closed...)
	r.PublicBind("/work", work)
	return r
}

// TestGatewayDeliversTheRepliesOfADrain stops an instance while a client's requests
// are at work: all are answered, then the connection is closed with 1012.
func TestGatewayDeliversTheRepliesOfADrain(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	worker := openBackplane(t, srv.URL(), "worker")
	const requests = 20
	working, release := make(chan struct{}, requests), make(chan struct{})
	r := workRouter(func(ctx *router.Context) {
		working <- struct{}{}
		<-release
		_ = ctx.Send("done")
	}, func(*router.Context) {})
	s := start(t, worker, r, Config{})
	ws := openEdge(t, srv.URL(), "edge", backplane.Config{}).dial()
	for i := range requests {
		if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/work","id":"%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	<-working
	// The rest is queued at the instance, or on its way.
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	poll(t, "the drain", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.draining
	})
	close(release)
	answered := 0
	for {
		_, m, err := ws.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
				t.Errorf("the connection ended with %v", err)
			}
			break
		}
		if want := fmt.Sprintf(`"id":"%d"`, answered); !strings.Contains(string(m), want) || !strings.Contains(string(m), "done") {
			t.Fatalf("answer %d is %s", answered, m)
		}
		answered++
	}
	// What the gateway had not read yet when the instance asked it to stop is not
	// handled; what was handled is answered.
	if handled := len(working) + 1; answered != handled {
		t.Errorf("%d answers to %d messages that were handled", answered, handled)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestRepinKeepsTheConnection drains one of two instances under a client.
func TestRepinKeepsTheConnection(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	nodes := []*backplane.Backplane{openBackplane(t, srv.URL(), "first"), openBackplane(t, srv.URL(), "second")}
	where := func(ctx *router.Context) { _ = ctx.Send(ctx.Instance()) }
	services := map[string]*Service{}
	for _, bp := range nodes {
		services[string(bp.Self().Node)] = start(t, bp, workRouter(where, func(*router.Context) {}), Config{OnInstanceLoss: registry.PolicyRepin})
	}
	ws := openEdge(t, srv.URL(), "edge", backplane.Config{}).dial()
	at := func(id string) string {
		reply := call(t, ws, "/work", id, "null")
		for name := range services {
			if strings.Contains(reply, name) {
				return name
			}
		}
		t.Fatalf("answered with %s", reply)
		return ""
	}
	before := at("1")
	if again := at("2"); again != before {
		t.Fatalf("one socket was handled by %s and %s", before, again)
	}
	if err := services[before].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := at("3"); after == before {
		t.Errorf("%s still handles messages after its stop", after)
	}
}

// TestGatewayDies ends a gateway's node without a word; its lease runs out.
func TestGatewayDies(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	cfg := backplane.Config{LeaseTTL: 3 * time.Second, Registry: registry.Config{Poll: 100 * time.Millisecond}}
	ctx := t.Context()
	cfg.NodeID = "worker"
	worker, err := backplane.Open(ctx, srv.URL(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Close(context.Background()) })
	var seen endings
	r := newRouter()
	r.UseClose(seen.handle)
	start(t, worker, r, Config{})
	e := openEdge(t, srv.URL(), "edge", cfg)
	ws := e.dial()
	if got := call(t, ws, "/echo", "1", `"hello"`); !strings.Contains(got, "hello") {
		t.Fatalf("echo gave %s", got)
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	_ = e.bp.Close(dead)
	poll(t, "UseClose", func() bool { return len(seen.all()) == 1 })
	if got := seen.all()[0]; got.Status != 1012 || got.Reason != "gateway lost" || got.Source != router.ServerCloseSource {
		t.Errorf("UseClose saw %+v", got)
	}
}
