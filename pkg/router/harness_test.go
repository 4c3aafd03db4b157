package router_test

import (
	"context"
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// conn is a transport in memory.
type conn struct {
	mu       sync.Mutex
	sent     []router.Outgoing
	consumed int
	closed   []closing
	gate     chan struct{} // when set, Send waits for it
	handler  router.SocketHandler
}

type closing struct {
	status router.Status
	reason string
}

func (c *conn) Send(ctx context.Context, m router.Outgoing) error {
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Data = append([]byte(nil), m.Data...)
	c.sent = append(c.sent, m)
	return nil
}

// Close behaves as a gateway does: the end follows.
func (c *conn) Close(status router.Status, reason string) {
	c.mu.Lock()
	c.closed = append(c.closed, closing{status, reason})
	h := c.handler
	c.mu.Unlock()
	h.End(status, reason, router.ServerCloseSource, false)
}

func (c *conn) closings() []closing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *conn) Consumed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.consumed += n
}

// client drives one socket in a bubble.
type client struct {
	router.SocketHandler
	t    *testing.T
	conn *conn
}

func connect(t *testing.T, r *router.Router, info router.SocketInfo) *client {
	c := &client{t: t, conn: &conn{}}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	c.SocketHandler = r.ServeSocket(info, c.conn)
	c.conn.handler = c.SocketHandler
	return c
}

// say sends messages and waits until everything has come to rest.
func (c *client) say(messages ...string) *client {
	for _, m := range messages {
		c.Deliver(router.MessageText, []byte(m))
	}
	synctest.Wait()
	return c
}

// heard returns what was sent since the last call.
func (c *client) heard() []string {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	var out []string
	for _, m := range c.conn.sent {
		out = append(out, string(m.Data))
	}
	c.conn.sent = nil
	return out
}

// hears checks what was sent since the last call.
func (c *client) hears(want ...string) {
	c.t.Helper()
	got := c.heard()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("sent:\n  %q\nwant:\n  %q", got, want)
	}
}

// hangUp ends the socket as a vanished client does, and waits for the end.
func (c *client) hangUp() {
	c.t.Helper()
	c.End(router.StatusAbnormalClosure, "", router.ClientCloseSource, false)
	<-c.Done()
}

func bubble(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, run)
}

var silent = slog.New(slog.DiscardHandler)

// newRouter returns a router with the JSON middleware.
func newRouter(t *testing.T, config router.Config) *router.Router {
	t.Helper()
	if config.Logger == nil {
		config.Logger = silent
	}
	r, err := router.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Use(json.Middleware())
	return r
}

// msg is a message in JSON; empty parts are left out.
func msg(path, id string, data any) string {
	m := map[string]any{}
	if path != "" {
		m["path"] = path
	}
	if id != "" {
		m["id"] = id
	}
	if data != nil {
		m["data"] = data
	}
	b, err := stdjson.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func echo(ctx *router.Context) { _ = ctx.Send(router.Raw(ctx.Data())) }

// note returns a handler that sends a string and goes on.
func note(text string) func(*router.Context) {
	return func(ctx *router.Context) {
		_ = ctx.Send(router.Raw(`"` + text + `"`))
		ctx.Next()
	}
}
