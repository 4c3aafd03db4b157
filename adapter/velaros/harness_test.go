package velarosadapter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/RobertWHurst/velaros"
	velarosjson "github.com/RobertWHurst/velaros/middleware/json"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// within receives from a channel.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

func startBackplane(t *testing.T) *backplane.Backplane {
	t.Helper()
	bp, err := embedded.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bp.Close(context.Background()) })
	return bp
}

// startGateway runs a gateway until the test ends.
func startGateway(t *testing.T, bp *backplane.Backplane, name string) *gateway.Gateway {
	t.Helper()
	gw, err := gateway.New(name, bp, gateway.Config{ForwardHeaders: []string{"User-Agent"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within(t, "the gateway ends", ended); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the gateway is ready", func() bool { return gw.Ready() == nil })
	return gw
}

// startService runs a Velaros router as a service until the test ends.
func startService(t *testing.T, bp *backplane.Backplane, name string, r *velaros.Router) *service.Service {
	t.Helper()
	s := service.New(name, bp, Handler(r), service.Config{})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// newRouter is a router for JSON clients that echoes.
func newRouter() *velaros.Router {
	r := velaros.NewRouter()
	r.Use(velarosjson.Middleware())
	r.PublicBind("/echo", func(ctx *velaros.Context) {
		var text string
		if err := ctx.ReceiveInto(&text); err != nil {
			ctx.Error = err
			return
		}
		_ = ctx.Send(map[string]string{"echo": text})
	})
	return r
}

// serves waits until the gateway knows a path, and returns the URL of a server
// with the gateway alone.
func serves(t *testing.T, gw *gateway.Gateway, path string) string {
	t.Helper()
	eventually(t, "the gateway serves "+path, func() bool { return gw.Ready() == nil && gw.CanServePath(path) })
	server := httptest.NewServer(gw)
	t.Cleanup(server.Close)
	return server.URL
}

// client is a client of some encoding.
type client struct {
	t        *testing.T
	ws       *websocket.Conn
	encoding envelope.Encoding
}

func dial(t *testing.T, url string, subprotocols ...string) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	ws, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http"), map[string][]string{"User-Agent": {"tester"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	c := &client{t: t, ws: ws}
	if len(subprotocols) > 0 {
		c.encoding, _ = envelope.FromSubprotocol(subprotocols[0])
	}
	return c
}

func (c *client) send(id, path, data string) {
	c.t.Helper()
	m := envelope.Message{ID: id, Path: path}
	if data != "" {
		m.Data = []byte(data)
	}
	if err := c.ws.WriteMessage(int(c.encoding.MessageType()), c.encoding.AppendMessage(nil, m)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns id and data of the next message.
func (c *client) read() (id, data string) {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	kind, b, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	if kind != int(c.encoding.MessageType()) {
		c.t.Fatalf("a message of type %d: %q", kind, b)
	}
	head, err := c.encoding.Peek(b)
	if err != nil {
		c.t.Fatalf("%q: %v", b, err)
	}
	return string(head.ID), string(head.Data)
}

// expect reads a message that must be the given one.
func (c *client) expect(id, data string) {
	c.t.Helper()
	if gotID, gotData := c.read(); gotID != id || gotData != data {
		c.t.Fatalf("got id %q, data %s; want %q, %s", gotID, gotData, id, data)
	}
}

// fails reads an error that must have the given code.
func (c *client) fails(id, code string) {
	c.t.Helper()
	gotID, data := c.read()
	var failure struct{ Error, Code string }
	if err := json.Unmarshal([]byte(data), &failure); err != nil || gotID != id || failure.Code != code || failure.Error == "" {
		c.t.Fatalf("got id %q, data %s; want %q and an error with code %s", gotID, data, id, code)
	}
}

// closed reads to the end of the connection and returns its status, 1006 for none.
func (c *client) closed() int {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, b, err := c.ws.ReadMessage()
		if err == nil {
			c.t.Logf("passed over: %q", b)
			continue
		}
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
		if strings.Contains(err.Error(), "timeout") {
			c.t.Fatalf("the connection did not end: %v", err)
		}
		return websocket.CloseAbnormalClosure
	}
}

// leave closes the connection with a status.
func (c *client) leave(status int) {
	c.t.Helper()
	message := websocket.FormatCloseMessage(status, "")
	if err := c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
}
