package service

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/router"
	jsonmw "github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// openBackplane opens a node that ends with the test.
func openBackplane(tb testing.TB, url string, id wire.NodeID) *backplane.Backplane {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	bp, err := backplane.Open(ctx, url, backplane.Config{NodeID: id})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = bp.Close(ctx) // a peer may be gone by intent
	})
	return bp
}

// eachWay runs a test with the gateway and the service on one backplane, and with
// Redis between them.
func eachWay(t *testing.T, test func(t *testing.T, gateway, service *backplane.Backplane)) {
	t.Run("one node", func(t *testing.T) {
		srv := redistest.Start(t, redistest.Config{})
		bp := openBackplane(t, srv.URL(), "both")
		test(t, bp, bp)
	})
	t.Run("two nodes", func(t *testing.T) {
		srv := redistest.Start(t, redistest.Config{})
		test(t, openBackplane(t, srv.URL(), "edge"), openBackplane(t, srv.URL(), "worker"))
	})
}

// start runs a service until the test ends.
func start(tb testing.TB, bp *backplane.Backplane, h Handler, cfg Config) *Service {
	tb.Helper()
	s := New("svc", bp, h, cfg)
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ended)
	})
	return s
}

// newRouter returns a router that speaks JSON and echoes at /echo.
func newRouter() *router.Router {
	r, err := router.New(router.Config{TurnTimeout: -1}) // a machine that stands still does not end a turn
	if err != nil {
		panic(err)
	}
	r.Use(jsonmw.Middleware())
	r.PublicBind("/echo", func(ctx *router.Context) {
		if err := ctx.Send(router.Raw(ctx.Data())); err != nil {
			ctx.Error = err
		}
	})
	return r
}

// client is the gateway's end of one stream, in the hands of a test.
type client struct {
	tb     testing.TB
	stream *backplane.Stream
	// reads makes the client one that reads: it returns the credit of what it gets.
	reads bool

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	data     []wire.Data
	owed     int // credit for what was read
	credit   int // what the service granted
	closes   []wire.Close
	closed   int
	released int
	refused  *wire.Refuse
	resets   int
}

// connect opens a stream for service "svc" to a node.
func connect(tb testing.TB, from, to *backplane.Backplane, socket string, change func(*wire.Open)) *client {
	tb.Helper()
	o := wire.Open{
		Service: "svc", Socket: wire.SocketID(socket), Gateway: "public", Subprotocol: "velaros-json",
		Credit: wire.DefaultWindow,
	}
	if change != nil {
		change(&o)
	}
	c := &client{tb: tb, changed: make(chan struct{}), credit: wire.DefaultWindow}
	c.stream = from.OpenStream(to.Self(), c)
	if err := c.stream.SendOpen(tb.Context(), o); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Frame implements backplane.StreamHandler.
func (c *client) Frame(kind wire.Kind, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	switch kind {
	case wire.KindData:
		var d wire.Data
		d, err = wire.ParseData(body)
		c.data = append(c.data, d)
		if c.owed += d.Cost(); c.reads && c.owed > wire.DefaultWindow/2 {
			c.grant(uint32(c.owed))
			c.owed = 0
		}
	case wire.KindCredit:
		var credit wire.Credit
		credit, err = wire.ParseCredit(body)
		c.credit += int(credit.Bytes)
	case wire.KindClose:
		var m wire.Close
		m, err = wire.ParseClose(body)
		c.closes = append(c.closes, m)
	case wire.KindClosed:
		c.closed++
	case wire.KindRelease:
		c.released++
	case wire.KindRefuse:
		var m wire.Refuse
		m, err = wire.ParseRefuse(body)
		c.refused = &m
	default:
		err = fmt.Errorf("a frame of kind %d", kind)
	}
	if err != nil {
		c.tb.Errorf("the service sent %v", err)
	}
	c.signal()
}

// Reset implements backplane.StreamHandler.
func (c *client) Reset(link.Reset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
	c.signal()
}

func (c *client) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until cond, which is called with mu held, is true.
func (c *client) await(what string, cond func() bool) {
	c.tb.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			c.tb.Fatalf("%s did not happen within %v", what, patience)
		}
	}
}

// send sends a message when there is credit for it.
func (c *client) send(format string, args ...any) {
	c.tb.Helper()
	payload := fmt.Appendf(nil, format, args...)
	c.await("credit", func() bool {
		if c.credit <= 0 {
			return false
		}
		c.credit -= len(payload) + wire.DataOverhead
		return true
	})
	if err := c.stream.SendData(c.tb.Context(), wire.Text, "", payload); err != nil {
		c.tb.Errorf("send: %v", err)
	}
}

// grant allows the service to send n bytes more.
func (c *client) grant(n uint32) {
	c.tb.Helper()
	if err := c.stream.SendCredit(n); err != nil {
		c.tb.Error(err)
	}
}

// close sends a Close.
func (c *client) close(m wire.Close) {
	c.tb.Helper()
	if err := c.stream.SendClose(m); err != nil {
		c.tb.Error(err)
	}
}

// envelope is a message of the service.
type envelope struct {
	ID   string
	Path string
	Data json.RawMessage
}

// receive waits for the n-th message, counted from 0.
func (c *client) receive(n int) envelope {
	c.tb.Helper()
	var payload []byte
	c.await(fmt.Sprintf("message %d", n), func() bool {
		if len(c.data) <= n {
			return false
		}
		payload = c.data[n].Payload
		return true
	})
	var e envelope
	if err := json.Unmarshal(payload, &e); err != nil {
		c.tb.Fatalf("message %d is %q: %v", n, payload, err)
	}
	return e
}

// awaitClosed waits for the service's last word.
func (c *client) awaitClosed() {
	c.tb.Helper()
	c.await("Closed", func() bool { return c.closed > 0 })
}

// poll waits until cond is true.
func poll(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late.C:
			tb.Fatalf("%s did not happen within %v", what, patience)
		}
	}
}

// hasCredit reports whether a message may be sent.
func (c *client) hasCredit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.credit > 0
}
