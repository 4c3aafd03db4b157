package gateway

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestSlowServiceHoldsBackItsClient lets a client write without end to a service
// that gives no credit: its TCP connection must block, the gateway must hold
// nothing beyond the window, and after the service goes on, every message must
// come, in order.
func TestSlowServiceHoldsBackItsClient(t *testing.T) {
	w := newWorld(t)
	var throttled atomic.Int64 // in ns
	gw := w.gateway(Config{Hooks: Hooks{Throttled: func(service string, d time.Duration) {
		if service == "slow" {
			throttled.Add(int64(d))
		}
	}}})
	slow := w.instance(w.node(), registry.Service{Name: "slow", Routes: routes("/slow")})
	w.instance(w.node(), registry.Service{Name: "quick", Routes: routes("/quick")}).echo()
	gw.routed("/slow")
	gw.routed("/quick")

	c := gw.dial()
	padding := strings.Repeat("x", 8<<10)
	msg := func(n int) string { return message("/slow", fmt.Sprint(n), padding) }
	written := 0
	for {
		_ = c.SetWriteDeadline(time.Now().Add(4 * time.Second)) // longer than a busy machine stands still
		if err := c.WriteMessage(websocket.TextMessage, []byte(msg(written))); err != nil {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Fatal(err)
			}
			break // the client is held back; it cannot write any more after this
		}
		written++
	}
	s := receive(w, "open", slow.opened)
	cost := len(msg(10)) + wire.DataOverhead
	if n := len(s.data); n*cost > wire.DefaultWindow+2*cost {
		t.Errorf("the instance holds %d messages of cost %d; its window is %d", n, cost, wire.DefaultWindow)
	}
	if written <= len(s.data) {
		t.Errorf("the client wrote %d messages, the instance has %d", written, len(s.data))
	}

	other := gw.dial()
	other.put(message("/quick", "1", "x"))
	other.want(message("/quick", "1", "x"))

	for n := range written {
		d := receive(w, "data", s.data)
		if string(d.Payload) != msg(n) {
			t.Fatalf("message %d is %.40s", n, d.Payload)
		}
		if err := s.stream.SendCredit(uint32(d.Cost())); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Duration(throttled.Load()); d < 300*time.Millisecond {
		t.Errorf("the hook was told that the client was held back for %v", d)
	}
}

// flood sends to the client until credit or n runs out, and returns how many
// messages it sent.
func (p *peerSocket) flood(msg string, n, credit int) (sent int) {
	for sent < n {
		for credit <= 0 {
			select {
			case more := <-p.credit:
				credit += more
			default:
				return sent
			}
		}
		p.send(msg)
		credit -= len(msg) + wire.DataOverhead
		sent++
	}
	return sent
}

// sendAll sends n messages and waits for credit as a well-behaved instance does. It
// returns false if none comes.
func (p *peerSocket) sendAll(msg string, n, credit int) bool {
	for n -= p.flood(msg, n, credit); n > 0; {
		select {
		case more := <-p.credit:
			n -= p.flood(msg, n, more)
		case <-time.After(patience):
			return false
		}
	}
	return true
}

// TestSlowClient lets a service send more than a client reads. The service runs out
// of credit, other clients get their messages, and the client is closed; when it
// reads again, it finds an orderly end.
func TestSlowClient(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{SlowConsumerTimeout: 300 * time.Millisecond})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c, other := gw.dial(), gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	other.put(message("/a", "1", "x"))
	so := receive(w, "open", a.opened)

	msg := message("/a", "", strings.Repeat("x", 4000))
	credit, sent := DefaultReplyWindow, 0
	for closed := false; !closed; {
		n := s.flood(msg, 1000, credit)
		credit, sent = 0, sent+n
		so.send("still quick")
		other.want("still quick")
		select {
		case grant := <-s.credit:
			credit = grant
		case end := <-s.closes:
			if want := (wire.Close{Status: wire.ClosePolicy, Reason: "slow_consumer", Source: wire.SourceServer}); end != want {
				t.Fatalf("the instance was told %+v; want %+v", end, want)
			}
			closed = true
		}
	}
	before := c.wantClose(wire.ClosePolicy, "slow_consumer")
	if len(before) == 0 || len(before) > sent {
		t.Errorf("the client got %d of %d messages", len(before), sent)
	}
	for i, got := range before {
		if got != msg {
			t.Fatalf("message %d is %.40s", i, got)
		}
	}
	so.send("and still quick")
	other.want("and still quick")
}

// TestCreditReturns lets a service send many windows to a client that reads.
func TestCreditReturns(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{ReplyWindow: 8 << 10})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	if s.open.Credit != 8<<10 {
		t.Fatalf("the initial credit is %d", s.open.Credit)
	}
	done := make(chan bool, 1)
	go func() { done <- s.sendAll(message("/a", "", strings.Repeat("x", 200)), 1000, 8<<10) }()
	for range 1000 {
		c.get()
	}
	if !receive(w, "the sender", done) {
		t.Errorf("the sender ran out of credit")
	}
}

// TestOverrun checks that an instance cannot make a gateway hold more than the
// window.
func TestOverrun(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	msg := strings.Repeat("x", 60<<10)
	for ended := false; !ended; {
		s.send(msg) // regardless of credit; the client does not read
		select {
		case end := <-s.closes:
			if end.Reason != "overrun" || end.Status != wire.CloseInternal {
				t.Fatalf("the instance was told %+v", end)
			}
			ended = true
		default:
		}
	}
	c.wantClose(wire.CloseInternal, "overrun")
}

// TestClientThatReadsNoErrors floods the gateway with bad messages without reading
// the answers: it is held back, and closed in the end.
func TestClientThatReadsNoErrors(t *testing.T) {
	w := newWorld(t)
	closed := make(chan string, 1)
	gw := w.gateway(Config{SlowConsumerTimeout: 200 * time.Millisecond, CloseTimeout: 100 * time.Millisecond, Hooks: Hooks{
		SocketClosed: func(_ wire.CloseCode, reason string, _ time.Duration) { closed <- reason },
	}})
	c := gw.dial()
	w.eventually("the gateway has the client", func() bool { return gw.SocketCount() == 1 })
	conn, most := gw.connections()[0], 0
	for {
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		if err := c.WriteMessage(websocket.TextMessage, []byte(`{"path":"/nobody","id":"`+strings.Repeat("i", 100)+`"}`)); err != nil {
			break
		}
		conn.mu.Lock()
		if conn.out != nil {
			most = max(most, len(conn.out.b))
		}
		conn.mu.Unlock()
	}
	if most > ownOutLimit+1000 {
		t.Errorf("%d bytes were queued for the client; the limit is %d", most, ownOutLimit)
	}
	if reason := receive(w, "close", closed); reason != "slow_consumer" {
		t.Errorf("closed for %s", reason)
	}
}

// TestPings checks that a client gets pings, that one that answers lives, and that
// one that does not is gone in time.
func TestPings(t *testing.T) {
	w := newWorld(t)
	type end struct {
		reason string
		open   time.Duration
	}
	closed := make(chan end, 2)
	gw := w.gateway(Config{PingInterval: 100 * time.Millisecond, PeerTimeout: 600 * time.Millisecond, Hooks: Hooks{
		SocketClosed: func(_ wire.CloseCode, reason string, open time.Duration) { closed <- end{reason, open} },
	}})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")

	alive := gw.dial()
	pings := make(chan struct{}, 100)
	answer := alive.PingHandler()
	alive.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		return answer(data)
	})
	go func() { _, _, _ = alive.ReadMessage() }() // answers pings

	dead := gw.dial() // nobody reads from it
	dead.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	got := receive(w, "end of the dead", closed)
	if got.reason != "peer_timeout" || got.open < 150*time.Millisecond || got.open > patience {
		t.Errorf("the dead client was closed for %s after %v", got.reason, got.open)
	}
	s.wantClosed(wire.Close{Status: wire.CloseAbnormal, Reason: "peer_timeout", Source: wire.SourceClient})
	for range 10 {
		receive(w, "ping", pings)
	}
	if gw.SocketCount() != 1 {
		t.Errorf("%d clients are connected; want the living one", gw.SocketCount())
	}
}

// TestHeldClientIsNotDead checks that a client whose service is slow is not taken
// for dead because the gateway does not read its pongs.
func TestHeldClientIsNotDead(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{PingInterval: 100 * time.Millisecond, PeerTimeout: 400 * time.Millisecond})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	msg := message("/a", "1", strings.Repeat("x", 60<<10))
	for range 6 { // more than the window
		c.put(msg)
	}
	s := receive(w, "open", a.opened)
	pings := 0
	c.SetPingHandler(func(string) error {
		if pings++; pings == 20 { // five times the timeout
			for range 6 {
				_ = s.stream.SendCredit(60 << 10)
			}
			s.send("go on")
		}
		return nil
	})
	c.want("go on")
	for range 6 {
		receive(w, "data", s.data)
	}
}

// TestHeldClientWithoutPings is the same for a gateway that sends no pings, so that
// nothing at all moves.
func TestHeldClientWithoutPings(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{PingInterval: -1, PeerTimeout: 500 * time.Millisecond})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	msg := message("/a", "1", strings.Repeat("x", 60<<10))
	for range 6 { // more than the window
		c.put(msg)
	}
	s := receive(w, "open", a.opened)
	w.eventually("the client is held back", func() bool {
		conns := gw.connections()
		return len(conns) == 1 && conns[0].held.Load() && len(s.data) == 5
	})
	since := gw.wheel.time()
	w.eventually("five timeouts pass", func() bool { return gw.wheel.time()-since > 5*gw.peerTicks })
	s.send("go on")
	if err := s.stream.SendCredit(1 << 20); err != nil {
		t.Fatal(err)
	}
	c.want("go on")
}

// TestBeat checks when a connection is looked after again: in time for the next
// ping, and in time for its peer timeout.
func TestBeat(t *testing.T) {
	g := &Gateway{wheel: newWheel(25 * time.Second), pingTicks: 25, peerTicks: 45}
	for silent := range ticks(45) {
		c := &conn{g: g, client: &client{}, state: connGone} // whose pings and ends do nothing
		c.seen.Store(1000 - uint32(silent))
		if next := c.beat(1000); next < 1 || next > 25 || next > 45-silent {
			t.Errorf("silent for %d: the next visit is in %d", silent, next)
		}
	}
}
