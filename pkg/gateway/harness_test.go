package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

var redis *redistest.Server // shared; each test has a namespace of its own

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, &redis, func() error { return goleak.Find() }))
}

var namespaces atomic.Int64

// world is a deployment for one test. At its end gateways stop before nodes do.
type world struct {
	testing.TB
	namespace string
	gateways  []*server
	nodes     []*backplane.Backplane
}

func newWorld(tb testing.TB) *world {
	w := &world{TB: tb, namespace: fmt.Sprintf("gw%d", namespaces.Add(1))}
	tb.Cleanup(func() {
		for _, s := range w.gateways {
			s.stop()
			<-s.over
			s.http.Close()
		}
		for _, bp := range w.nodes {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			_ = bp.Close(ctx)
			cancel()
		}
	})
	return w
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	return ctx
}

// node opens a backplane.
func (w *world) node() *backplane.Backplane {
	w.Helper()
	return w.nodeWith(link.Config{})
}

func (w *world) nodeWith(l link.Config) *backplane.Backplane {
	w.Helper()
	bp, err := backplane.Open(w.context(), redis.URL(), backplane.Config{
		Namespace: w.namespace,
		LeaseTTL:  5 * time.Second, // the living must renew it, also on a busy machine
		Registry:  registry.Config{Tick: 200 * time.Millisecond, Poll: 100 * time.Millisecond},
		Link:      l,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.nodes = append(w.nodes, bp)
	return bp
}

// server is a gateway behind an HTTP server.
type server struct {
	*Gateway
	w     *world
	bp    *backplane.Backplane
	http  *httptest.Server
	ended chan error // Run's result
	stop  context.CancelFunc
}

// gateway starts a gateway on a node of its own.
func (w *world) gateway(cfg Config) *server {
	w.Helper()
	return w.gatewayOn(w.node(), cfg)
}

func (w *world) gatewayOn(bp *backplane.Backplane, cfg Config) *server {
	w.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	g, err := New("public", bp, cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{Gateway: g, w: w, bp: bp, http: httptest.NewServer(g), ended: make(chan error, 1), stop: cancel}
	go func() { s.ended <- g.Run(ctx) }()
	w.gateways = append(w.gateways, s)
	w.eventually("the gateway is ready", func() bool { return g.Ready() == nil })
	return s
}

// routed waits until the gateway knows a path.
func (s *server) routed(path string) {
	s.w.Helper()
	s.w.eventually("the gateway knows "+path, func() bool { return s.CanServePath(path) })
}

// eventually polls a condition of another process's or goroutine's making.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			w.Fatalf("timeout: %s", what)
		}
	}
}

// receive takes the next value of a channel, within patience.
func receive[T any](w *world, what string, ch <-chan T) T {
	w.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			w.Fatalf("%s: the channel is closed", what)
		}
		return v
	case <-time.After(patience):
		w.Fatalf("timeout: %s", what)
		panic("unreachable")
	}
}

// instance serves streams without a router, so that a test decides about every
// frame.
type instance struct {
	w       *world
	tb      testing.TB // which made it: frames may come while w is lent to a subtest
	bp      *backplane.Backplane
	name    string
	unserve func()
	opened  chan *peerSocket
	onData  func(s *peerSocket, d wire.Data) // called in the receiving goroutine, if set
	slow    bool                             // does not confirm the end of a stream: the test calls gone
}

// instance announces a service on a node.
func (w *world) instance(bp *backplane.Backplane, s registry.Service) *instance {
	w.Helper()
	i := &instance{w: w, tb: w.TB, bp: bp, name: s.Name, opened: make(chan *peerSocket, 1000)}
	stop, err := bp.Serve(s.Name, i.accept)
	if err != nil {
		w.Fatal(err)
	}
	i.unserve = stop
	for n, r := range s.Routes {
		p, err := router.NewPattern(r.Pattern)
		if err != nil {
			w.Fatal(err)
		}
		s.Routes[n].Canonical = p.Canonical()
	}
	if err := bp.Registry().Announce(w.context(), s); err != nil {
		w.Fatal(err)
	}
	return i
}

// echo makes the instance answer every message with itself, and grant credit.
func (i *instance) echo() *instance {
	i.onData = func(s *peerSocket, d wire.Data) {
		select {
		case s.work <- d:
		case <-s.over:
		}
	}
	return i
}

// peerSocket is the instance's end of a stream.
type peerSocket struct {
	i      *instance
	stream *backplane.Stream
	open   wire.Open
	data   chan wire.Data
	closes chan wire.Close
	resets chan link.Reset
	credit chan int // grants
	work   chan wire.Data
	over   chan struct{} // closed when nothing more of work is done

	mu    sync.Mutex
	kinds []wire.Kind // that came, in order
}

func (i *instance) accept(s *backplane.Stream, o wire.Open) backplane.StreamHandler {
	p := &peerSocket{
		i: i, stream: s, open: o,
		data: make(chan wire.Data, 10000), closes: make(chan wire.Close, 10), resets: make(chan link.Reset, 10),
		credit: make(chan int, 10000), work: make(chan wire.Data, 10000), over: make(chan struct{}),
	}
	if i.onData != nil {
		done := make(chan struct{})
		i.tb.Cleanup(func() { close(p.over); <-done })
		go func() {
			defer close(done)
			for {
				select {
				case d := <-p.work:
					p.send(string(d.Payload))
					_ = p.stream.SendCredit(uint32(d.Cost()))
				case <-p.over:
					return
				}
			}
		}()
	}
	i.opened <- p
	return p
}

func (p *peerSocket) Frame(kind wire.Kind, body []byte) {
	p.mu.Lock()
	p.kinds = append(p.kinds, kind)
	p.mu.Unlock()
	switch kind {
	case wire.KindData:
		d, err := wire.ParseData(body)
		if err != nil {
			panic(err)
		}
		if p.i.onData != nil {
			p.i.onData(p, d)
		} else {
			p.data <- d
		}
	case wire.KindCredit:
		c, err := wire.ParseCredit(body)
		if err != nil {
			panic(err)
		}
		p.credit <- int(c.Bytes)
	case wire.KindClose:
		c, err := wire.ParseClose(body)
		if err != nil {
			panic(err)
		}
		p.closes <- c
		if !p.i.slow {
			p.gone()
		}
	}
}

func (p *peerSocket) Reset(r link.Reset) { p.resets <- r }

// send sends a message to the client.
func (p *peerSocket) send(msg string) { p.sendID("", msg) }

func (p *peerSocket) sendID(id, msg string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.stream.SendData(ctx, wire.Text, id, []byte(msg)); err != nil {
		p.i.tb.Errorf("%s cannot send: %v", p.i.name, err)
	}
}

// gone confirms the end of the stream.
func (p *peerSocket) gone() {
	_ = p.stream.SendClosed()
	p.stream.Done()
}

func routes(patterns ...string) []registry.Route {
	var list []registry.Route
	for _, p := range patterns {
		list = append(list, registry.Route{Pattern: p})
	}
	return list
}

// wsClient is a WebSocket client of a test.
type wsClient struct {
	*websocket.Conn
	w *world
}

func (s *server) url(query string) string {
	return "ws" + strings.TrimPrefix(s.http.URL, "http") + query
}

// dial connects a client with the given subprotocols.
func (s *server) dial(subprotocols ...string) *wsClient {
	s.w.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	conn, resp, err := d.Dial(s.url("/ws"), nil)
	if err != nil {
		s.w.Fatalf("dial: %v %v", err, resp)
	}
	_ = resp.Body.Close()
	s.w.Cleanup(func() { conn.Close() })
	return &wsClient{conn, s.w}
}

// ReadMessage waits for the next message within patience, however long ago the client
// connected.
func (c *wsClient) ReadMessage() (kind int, msg []byte, err error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c.Conn.ReadMessage()
}

// put sends a text message.
func (c *wsClient) put(msg string) {
	c.w.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(msg)); err != nil {
		c.w.Fatalf("write %s: %v", msg, err)
	}
}

// get returns the next message.
func (c *wsClient) get() string {
	c.w.Helper()
	_, msg, err := c.ReadMessage()
	if err != nil {
		c.w.Fatalf("read: %v", err)
	}
	return string(msg)
}

// want fails the test unless the next message is msg.
func (c *wsClient) want(msg string) {
	c.w.Helper()
	if got := c.get(); got != msg {
		c.w.Fatalf("the client got %s; want %s", got, msg)
	}
}

// wantError fails the test unless the next message is an error with that code,
// answering id. It returns the advice when to try again.
func (c *wsClient) wantError(id string, code wire.ErrorCode) (retryAfter time.Duration) {
	c.w.Helper()
	var got struct {
		ID   string `json:"id"`
		Data struct {
			Error      string         `json:"error"`
			Code       wire.ErrorCode `json:"code"`
			RetryAfter float64        `json:"retry_after"`
		} `json:"data"`
	}
	msg := c.get()
	if err := json.Unmarshal([]byte(msg), &got); err != nil {
		c.w.Fatalf("%s: %v", msg, err)
	}
	if got.ID != id || got.Data.Code != code || got.Data.Error == "" {
		c.w.Fatalf("the client got %s; want the error %s for id %q", msg, code, id)
	}
	return time.Duration(got.Data.RetryAfter * float64(time.Second))
}

// wantClose reads up to the close frame, which must have that status and reason,
// and returns the messages before it.
func (c *wsClient) wantClose(status wire.CloseCode, reason string) (before []string) {
	c.w.Helper()
	for {
		_, msg, err := c.ReadMessage()
		if err == nil {
			before = append(before, string(msg))
			continue
		}
		var closed *websocket.CloseError
		if !asClose(err, &closed) || wire.CloseCode(closed.Code) != status || closed.Text != reason {
			c.w.Fatalf("the client got %v after %d messages; want close %d %q", err, len(before), status, reason)
		}
		return before
	}
}

func asClose(err error, target **websocket.CloseError) bool {
	e, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla returns it bare
	*target = e
	return ok
}

// wantClosed waits for the gateway to tell the instance how the socket ended.
func (p *peerSocket) wantClosed(want wire.Close) {
	p.i.w.Helper()
	if got := receive(p.i.w, "Close at the instance", p.closes); got != want {
		p.i.w.Fatalf("the instance was told %+v; want %+v", got, want)
	}
}

// message makes an envelope with a path and an id.
func message(path, id, data string) string {
	return fmt.Sprintf(`{"path":%q,"id":%q,"data":%q}`, path, id, data)
}

var _ http.Handler = (*server)(nil)
