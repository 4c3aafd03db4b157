package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// limitedTo returns hooks that tell what was limited.
func limitedTo() (Hooks, <-chan string) {
	ch := make(chan string, 10000)
	return Hooks{Limited: func(s Scope, l Limit) { ch <- string(s) + " " + string(l) }}, ch
}

// TestMessageRate floods a gateway from one socket, beside a client that behaves.
func TestMessageRate(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{MessageRate: quota.Rate{PerSecond: 0.001, Burst: 3}, RateGrace: -1, Hooks: hooks})
	w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/echo")}).echo()
	gw.routed("/echo")

	flooder, good := gw.dial(), gw.dial()
	for i := range 3 {
		flooder.put(message("/echo", fmt.Sprint(i), ""))
		flooder.get()
	}
	for i := range 200 {
		flooder.put(message("/echo", fmt.Sprint("x", i), ""))
	}
	for i := range 200 {
		if wait := flooder.wantError(fmt.Sprint("x", i), wire.CodeRateLimited); wait < time.Second {
			t.Fatalf("it may try again after %v; a token takes 1000 s", wait)
		}
	}
	if got := receive(w, "the hook", limited); got != "socket message_rate" {
		t.Errorf("limited: %s", got)
	}
	good.put(message("/echo", "1", ""))
	good.want(message("/echo", "1", ""))
}

// TestByteRate: what is refused for its bytes costs nothing of the message rate.
func TestByteRate(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{
		MaxMessageBytes: 1000,
		MessageRate:     quota.Rate{PerSecond: 0.001, Burst: 2},
		ByteRate:        quota.Rate{PerSecond: 0.001, Burst: 1000}, Hooks: hooks,
	})
	w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/echo")}).echo()
	gw.routed("/echo")
	c := gw.dial()
	c.put(message("/echo", "1", strings.Repeat("x", 800)))
	c.get()
	c.put(message("/echo", "2", strings.Repeat("x", 800)))
	c.wantError("2", wire.CodeRateLimited)
	if got := receive(w, "the hook", limited); got != "socket byte_rate" {
		t.Errorf("limited: %s", got)
	}
	c.put(message("/echo", "3", "small"))
	c.want(message("/echo", "3", "small"))
}

// TestSustainedAbuse: a client that goes on flooding is closed, with a reason; one
// that sends a little too much is not.
func TestSustainedAbuse(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MessageRate: quota.Rate{PerSecond: 50, Burst: 1}, RateGrace: 300 * time.Millisecond})
	i := w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/echo")}).echo()
	gw.routed("/echo")
	c := gw.dial()
	ended := make(chan struct{})
	defer func() { <-ended }()
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			if c.WriteMessage(websocket.TextMessage, []byte(message("/echo", fmt.Sprint(i), ""))) != nil {
				return
			}
		}
	}()
	before := c.wantClose(wire.ClosePolicy, "rate_limited")
	if len(before) < 10 || !strings.Contains(strings.Join(before, ""), `"retry_after":`) {
		t.Errorf("%d answers came before the close, none with advice", len(before))
	}
	c.Close()
	receive(w, "the socket", i.opened).wantClosed(wire.Close{Status: wire.ClosePolicy, Reason: "rate_limited", Source: wire.SourceServer})
}

// TestAbuseIsJudgedByProportion runs the count of refusals by hand.
func TestAbuseIsJudgedByProportion(t *testing.T) {
	const grace = 10 * time.Second
	g := &Gateway{cfg: Config{RateGrace: grace}}
	// each second, so many messages pass and so many are refused
	for _, tt := range []struct {
		name            string
		passed, refused int
		every           time.Duration
		closed          bool
	}{
		{"twice the rate and more", 10, 11, time.Second, true},
		{"less than twice the rate", 10, 9, time.Second, false},
		{"nothing but refusals", 0, 1, time.Second, true},
		{"a burst every half minute", 5, 50, 30 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &conn{g: g, limits: &limiter{}}
			closed := false
			for i := range 60 {
				c.limits.now = time.Duration(i) * tt.every
				c.limits.passed += tt.passed
				for range tt.refused {
					closed = closed || c.abuse().cause == causeRateLimited
				}
			}
			if closed != tt.closed {
				t.Errorf("closed: %v; want %v", closed, tt.closed)
			}
		})
	}
}

// TestInFlight: requests without an answer are bounded; an answer makes room, and
// so does a minute, and a message that was not sent takes none.
func TestInFlight(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{MaxInFlight: 2, RateGrace: -1, Hooks: hooks})
	i := w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/ask")})
	gw.routed("/ask")
	c := gw.dial()
	for n := range 10 {
		c.put(message("/nowhere", fmt.Sprint("n", n), ""))
		c.wantError(fmt.Sprint("n", n), wire.CodeNoRoute)
	}
	c.put(message("/ask", "1", ""))
	c.put(message("/ask", "2", ""))
	c.put(`{"path":"/ask"}`)         // asks nothing
	c.put(`{"id":"other","data":1}`) // answers something
	s := receive(w, "the socket", i.opened)
	for range 4 {
		receive(w, "the message", s.data)
	}
	c.put(message("/ask", "3", ""))
	c.wantError("3", wire.CodeRateLimited)
	if got := receive(w, "the hook", limited); got != "socket in_flight" {
		t.Errorf("limited: %s", got)
	}
	s.send(`{"id":"1","data":"done"}`)
	c.get()
	c.put(message("/ask", "4", ""))
	receive(w, "the message", s.data)

	gw.wheel.now.Add(uint32(gw.wheel.ticks(inFlightTimeout)) + 2)
	c.put(message("/ask", "5", ""))
	receive(w, "the message", s.data)
}

// TestInFlightOfOneID: each request counts, also those with the same id, until as
// many answers have come.
func TestInFlightOfOneID(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MaxInFlight: 2, RateGrace: -1})
	i := w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/ask")})
	gw.routed("/ask")
	c := gw.dial()
	c.put(message("/ask", "1", ""))
	s := receive(w, "the socket", i.opened)
	receive(w, "the message", s.data)
	c.put(message("/ask", "1", ""))
	receive(w, "the message", s.data)
	c.put(message("/ask", "1", ""))
	c.wantError("1", wire.CodeRateLimited)
	s.send(`{"id":"1","data":"one answer"}`)
	c.get()
	c.put(message("/ask", "2", ""))
	receive(w, "the message", s.data)
	c.put(message("/ask", "3", ""))
	c.wantError("3", wire.CodeRateLimited)
}

// TestInFlightOfALostInstance: what is lost with an instance no longer counts.
func TestInFlightOfALostInstance(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MaxInFlight: 2, RateGrace: -1})
	service := registry.Service{Name: "s", Routes: routes("/ask"), OnInstanceLoss: registry.PolicyRepin}
	i := w.instance(w.node(), service)
	gw.routed("/ask")
	c := gw.dial()
	c.put(message("/ask", "1", ""))
	s := receive(w, "the socket", i.opened)
	c.put(message("/ask", "1", ""))
	for range 2 {
		receive(w, "the message", s.data)
	}
	other := w.instance(w.node(), service)
	w.kill(i)
	c.wantError("1", wire.CodeInstanceLost)
	c.put(message("/ask", "2", ""))
	s = receive(w, "the socket, elsewhere", other.opened)
	c.put(message("/ask", "3", ""))
	for range 2 {
		receive(w, "the message, elsewhere", s.data)
	}
}

// TestGate: handshakes beyond the rate, or too many at once, are turned away with
// the time to come again, whatever else is wrong with them.
func TestGate(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{AcceptRate: quota.Rate{PerSecond: 0.1, Burst: 2}, Hooks: hooks})
	gw.dial()
	gw.dial()
	refused := func(code string) {
		t.Helper()
		_, resp, err := websocket.DefaultDialer.Dial(gw.url("/ws"), http.Header{"Origin": {"https://evil.example"}})
		if err == nil {
			t.Fatal("the handshake was accepted")
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), `"code":"`+code+`"`) {
			t.Errorf("%s: %s", resp.Status, body)
		}
		if after := resp.Header.Get("Retry-After"); after == "" || after == "0" {
			t.Errorf("Retry-After: %q", after)
		}
	}
	refused("accept_rate")
	if got := receive(w, "the hook", limited); got != "gateway connection_rate" {
		t.Errorf("limited: %s", got)
	}
	gw.gate.mu.Lock()
	gw.gate.inside = DefaultMaxHandshakes
	gw.gate.mu.Unlock()
	refused("handshakes")
	gw.gate.mu.Lock()
	gw.gate.inside = 0
	gw.gate.mu.Unlock()
}

// TestGateLeaves: a handshake counts until it is answered, however it ends; the next
// one of who was answered has room.
func TestGateLeaves(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MaxHandshakes: 1})
	for range 3 {
		gw.dial()
		_, resp, err := websocket.DefaultDialer.Dial(gw.url("/ws"), http.Header{"Origin": {"https://evil.example"}})
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Fatalf("a foreign origin: %v, %v", resp, err)
		}
	}
}
