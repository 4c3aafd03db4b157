package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	jsonmw "github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

var redis *redistest.Server // shared; each test has a namespace of its own

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, &redis, func() error { return goleak.Find() }))
}

var namespaces atomic.Int64

// world is a deployment for one test.
type world struct {
	testing.TB
	url, namespace string
}

func newWorld(tb testing.TB) *world {
	return &world{TB: tb, url: redis.URL(), namespace: fmt.Sprintf("push%d", namespaces.Add(1))}
}

// node opens a backplane until the end of the test.
func (w *world) node(name string, tune ...func(*backplane.Config)) *backplane.Backplane {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cfg := backplane.Config{
		Namespace: w.namespace, NodeID: wire.NodeID(name),
		LeaseTTL: 5 * time.Second, // the living must renew it, also on a busy machine
		Registry: registry.Config{Tick: 200 * time.Millisecond, Poll: 100 * time.Millisecond},
		Logger:   slog.New(slog.NewTextHandler(w.Output(), nil)),
	}
	for _, f := range tune {
		f(&cfg)
	}
	bp, err := backplane.Open(ctx, w.url, cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = bp.Close(ctx)
	})
	return bp
}

// server is a gateway on a node of its own.
type server struct {
	*gateway.Gateway
	w    *world
	bp   *backplane.Backplane
	http *httptest.Server
	stop func() // as with SIGTERM, but at once
}

func (w *world) gateway(name string, cfg gateway.Config) *server {
	w.Helper()
	bp := w.node(name)
	g, err := gateway.New("public", bp, cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	s := &server{Gateway: g, w: w, bp: bp, http: httptest.NewServer(g)}
	go func() {
		defer close(over)
		_ = g.Run(ctx)
	}()
	s.stop = func() {
		cancel()
		<-over
		s.http.Close()
	}
	w.Cleanup(s.stop)
	w.eventually("the gateway is ready", func() bool { return g.Ready() == nil })
	return s
}

// crash ends the gateway's node without a goodbye.
func (s *server) crash() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.bp.Close(ctx)
}

// request is what the test's service is asked for.
type request struct {
	Group, User, Text string
}

// chat runs an instance of a service whose clients decide about groups and users.
func (w *world) chat(name string) *backplane.Backplane {
	w.Helper()
	bp := w.node(name)
	r := router.NewRouter()
	r.Use(jsonmw.Middleware())
	reply := func(c *router.Context, data any, err error) {
		if err != nil {
			c.Error = err
			return
		}
		_ = c.Send(data)
	}
	handle := func(path string, f func(c *router.Context, q request) (any, error)) {
		r.PublicBind(path, func(c *router.Context) {
			var q request
			if err := c.Unmarshal(&q); err != nil {
				c.Error = err
				return
			}
			data, err := f(c, q)
			reply(c, data, err)
		})
	}
	handle("/join", func(c *router.Context, q request) (any, error) { return c.SocketID(), c.JoinGroup(q.Group) })
	handle("/leave", func(c *router.Context, q request) (any, error) { return "left", c.LeaveGroup(q.Group) })
	handle("/watch", func(c *router.Context, q request) (any, error) { return "watches", c.WatchGroup(q.Group, q.Text) })
	handle("/unwatch", func(c *router.Context, q request) (any, error) { return "ended", c.UnwatchGroup(q.Group) })
	handle("/login", func(c *router.Context, q request) (any, error) { return c.SocketID(), c.SetUser(q.User) })
	handle("/say", func(c *router.Context, q request) (any, error) {
		return c.Push(router.Push{
			To: router.ToGroup(q.Group), Except: []string{c.SocketID()}, Path: "/said", Data: q,
		})
	})
	s := service.New("chat", bp, r, service.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Stop(ctx)
	})
	return bp
}

func (s *server) routed(path string) {
	s.w.Helper()
	s.w.eventually("the gateway knows "+path, func() bool { return s.CanServePath(path) })
}

// eventually polls a condition of another goroutine's making.
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

// answer is a message from the server.
type answer struct {
	ID   string          `json:"id"`
	Path string          `json:"path"`
	Data json.RawMessage `json:"data"`
}

// client is a JSON client.
type client struct {
	w  *world
	ws *websocket.Conn
	id string // of its socket, once known
	n  int

	early []answer // came before the answer to watch
}

func (s *server) dial(subprotocols ...string) *client {
	s.w.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: subprotocols}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(s.http.URL, "http"), nil)
	if err != nil {
		s.w.Fatal(err)
	}
	s.w.Cleanup(func() { _ = ws.Close() })
	return &client{w: s.w, ws: ws}
}

func (c *client) read() answer {
	c.w.Helper()
	if len(c.early) > 0 {
		e := c.early[0]
		c.early = c.early[1:]
		return e
	}
	e, err := c.tryRead(patience)
	if err != nil {
		c.w.Fatalf("read: %v", err)
	}
	return e
}

func (c *client) tryRead(within time.Duration) (e answer, err error) {
	if err = c.ws.SetReadDeadline(time.Now().Add(within)); err != nil {
		return e, err
	}
	err = c.ws.ReadJSON(&e)
	return e, err
}

// call sends a request and returns the data of the answer, which must be next.
func (c *client) call(path string, data any) json.RawMessage {
	c.w.Helper()
	e := c.ask(path, data, func(e answer) { c.w.Fatalf("%s: got %+v in place of the answer", path, e) })
	return e.Data
}

// watch watches a group. Events may come before the answer; they are read next.
func (c *client) watch(group, path string) {
	c.w.Helper()
	var early []answer
	c.ask("/watch", request{Group: group, Text: path}, func(e answer) { early = append(early, e) })
	c.early = early
}

// ask sends a request and returns its answer. What comes before it is other's.
func (c *client) ask(path string, data any, other func(answer)) answer {
	c.w.Helper()
	c.n++
	id := fmt.Sprint(c.n)
	if err := c.ws.WriteJSON(map[string]any{"path": path, "id": id, "data": data}); err != nil {
		c.w.Fatal(err)
	}
	for {
		e := c.read()
		if e.ID != id {
			other(e)
			continue
		}
		if strings.Contains(string(e.Data), `"code"`) {
			c.w.Fatalf("%s: %s", path, e.Data)
		}
		return e
	}
}

// join puts the client into a group.
func (c *client) join(group string) *client {
	c.w.Helper()
	c.known(c.call("/join", request{Group: group}))
	return c
}

// login makes the client a user's.
func (c *client) login(user string) *client {
	c.w.Helper()
	c.known(c.call("/login", request{User: user}))
	return c
}

func (c *client) known(data json.RawMessage) {
	c.w.Helper()
	var known struct{ Message string }
	if err := json.Unmarshal(data, &known); err != nil {
		c.w.Fatalf("socket id %s: %v", data, err)
	}
	c.id = known.Message
}

// gets checks that the next message is a push.
func (c *client) gets(path, data string) {
	c.w.Helper()
	if e := c.read(); e.Path != path || string(e.Data) != data || e.ID != "" {
		c.w.Fatalf("got %+v %s; want %s %s", e, e.Data, path, data)
	}
}
