package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// kill ends a node as a crash does: nothing is withdrawn, and nobody is told.
func (w *world) kill(i *instance) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = i.bp.Close(ctx)
}

func TestLostInstanceClosesItsSockets(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
	b := w.instance(w.node(), registry.Service{Name: "b", Routes: routes("/b")})
	gw.routed("/a")
	gw.routed("/b")
	both, onlyB := gw.dial(), gw.dial()
	both.put(message("/a", "1", "x"))
	receive(w, "open", a.opened)
	both.put(message("/b", "2", "x"))
	sb := receive(w, "open", b.opened)
	onlyB.put(message("/b", "3", "x"))
	other := receive(w, "open", b.opened)

	w.kill(a)
	both.wantClose(wire.CloseRestart, "instance_lost")
	sb.wantClosed(wire.Close{Status: wire.CloseRestart, Reason: "instance_lost", Source: wire.SourceServer})
	other.send("still here")
	onlyB.want("still here")
}

// TestLostInstanceIsReplaced checks the policy repin: requests without an answer
// are reported, the connection stays, and the next message goes elsewhere.
func TestLostInstanceIsReplaced(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	service := registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: registry.PolicyRepin}
	first := w.instance(w.node(), service)
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "answered", "x"))
	s := receive(w, "open", first.opened)
	receive(w, "data", s.data) // else the answer may come before the request counts as sent
	s.send(`{"id":"answered","data":1}`)
	c.want(`{"id":"answered","data":1}`)
	c.put(`{"path":"/a","data":"without an id"}`)
	c.put(message("/a", "lost", "x"))
	for range 2 {
		receive(w, "data", s.data)
	}

	second := w.instance(w.node(), service)
	w.kill(first)
	c.wantError("lost", wire.CodeInstanceLost)
	c.put(message("/a", "again", "x"))
	s = receive(w, "open on another instance", second.opened)
	if d := receive(w, "data", s.data); string(d.Payload) != message("/a", "again", "x") {
		t.Errorf("the other instance got %s", d.Payload)
	}
	s.send(`{"id":"again"}`)
	c.want(`{"id":"again"}`) // and no error before it
}

// TestRefusedStream checks an instance that is still announced but does not serve
// any more: a client is told, or repinned.
func TestRefusedStream(t *testing.T) {
	for policy, check := range map[registry.Policy]func(*wsClient){
		registry.PolicyClose: func(c *wsClient) { c.wantClose(wire.CloseRestart, "instance_lost") },
		registry.PolicyRepin: func(c *wsClient) {
			// Unavailable if the stream is refused before the message is sent, each time.
			if msg := c.get(); !strings.Contains(msg, string(wire.CodeInstanceLost)) && !strings.Contains(msg, string(wire.CodeUnavailable)) {
				c.w.Errorf("the client got %s", msg)
			}
		},
	} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			w := newWorld(t)
			gw := w.gateway(Config{})
			a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: policy})
			gw.routed("/a")
			a.unserve()
			c := gw.dial()
			c.put(message("/a", "1", "x"))
			check(c)
		})
	}
}

// TestHandback sends numbered messages while instances hand the socket back again
// and again: every message is handled once, in order, and the new instance starts
// only when the old one has finished.
func TestHandback(t *testing.T) {
	w := newWorld(t)
	unpinned := make(chan string, 100)
	gw := w.gateway(Config{Hooks: Hooks{Unpinned: func(_, reason string) { unpinned <- reason }}})
	service := registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: registry.PolicyRepin}
	two := []*instance{w.instance(w.node(), service), w.instance(w.node(), service)}
	for _, i := range two {
		i.slow = true
	}
	gw.routed("/a")
	c := gw.dial()

	const batch = 20
	sent, handled := 0, 0
	put := func() {
		t.Helper()
		for range batch {
			c.put(message("/a", fmt.Sprint(sent), "x"))
			sent++
		}
	}
	take := func(s *peerSocket) {
		t.Helper()
		for range batch {
			d := receive(w, "data", s.data)
			if want := message("/a", fmt.Sprint(handled), "x"); string(d.Payload) != want {
				t.Fatalf("%s got %s; want %s", s.stream.Peer(), d.Payload, want)
			}
			_ = s.stream.SendCredit(uint32(d.Cost()))
			s.send(string(d.Payload))
			c.want(string(d.Payload))
			handled++
		}
	}
	either := func() *peerSocket {
		t.Helper()
		select {
		case s := <-two[0].opened:
			return s
		case s := <-two[1].opened:
			return s
		case <-time.After(patience):
			t.Fatalf("timeout: no instance is opened after %d messages", handled)
			return nil
		}
	}
	put()
	for range 5 {
		s := either()
		take(s)
		put() // these are queued at the instance when it hands the socket back
		w.eventually("they arrive", func() bool { return len(s.data) == batch })
		if err := s.stream.SendRelease(); err != nil {
			t.Fatal(err)
		}
		s.wantClosed(wire.Close{Status: wire.CloseRestart, Reason: "handoff", Source: wire.SourceHandoff, Finish: true})
		put() // these are for the next instance
		w.eventually("the gateway holds them", func() bool { return gw.connections()[0].held.Load() })
		take(s)
		if n := len(two[0].opened) + len(two[1].opened) + len(s.data); n != 0 {
			t.Fatalf("%d streams or messages come before the old stream has ended", n)
		}
		s.gone()
		if reason := receive(w, "unpin", unpinned); reason != unpinHandoff {
			t.Fatalf("unpinned for %s", reason)
		}
	}
	take(either())
}

// TestHandbackTimeout checks that an instance that does not end the stream it
// handed back is not waited for for ever.
func TestHandbackTimeout(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{HandbackTimeout: 50 * time.Millisecond, PingInterval: 100 * time.Millisecond})
	service := registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: registry.PolicyRepin}
	a := w.instance(w.node(), service)
	a.slow = true
	gw.routed("/a")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	s := receive(w, "open", a.opened)
	receive(w, "data", s.data) // else the release may come before the message is sent
	if err := s.stream.SendRelease(); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(wire.Close{Status: wire.CloseRestart, Reason: "handoff", Source: wire.SourceHandoff, Finish: true})
	c.wantError("1", wire.CodeInstanceLost)
	s.wantClosed(wire.Close{Status: wire.CloseRestart, Reason: "it took too long", Source: wire.SourceServer})
	c.put(message("/a", "2", "x"))
	s = receive(w, "another stream", a.opened)
	if d := receive(w, "data", s.data); string(d.Payload) != message("/a", "2", "x") {
		t.Errorf("it got %s", d.Payload)
	}
}

// TestServiceCloses checks that what a handler sent before it closed arrives, and
// that the other services of the socket are told.
func TestServiceCloses(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	node := w.node()
	a := w.instance(node, registry.Service{Name: "a", Routes: routes("/a")})
	b := w.instance(node, registry.Service{Name: "b", Routes: routes("/b")})
	gw.routed("/a")
	gw.routed("/b")
	for _, test := range []struct{ asked, sent wire.CloseCode }{{4000, 4000}, {0, 1000}, {1006, 1011}, {wire.CloseNoStatus, 1005}} {
		c := gw.dial()
		c.put(message("/a", "1", "x"))
		c.put(message("/b", "1", "x"))
		sa, sb := receive(w, "open", a.opened), receive(w, "open", b.opened)
		for range 100 {
			sa.send("before")
		}
		if err := sa.stream.SendClose(wire.Close{Status: test.asked, Reason: "because", Source: wire.SourceServer}); err != nil {
			t.Fatal(err)
		}
		reason := "because"
		if test.asked == wire.CloseNoStatus {
			reason = ""
		}
		if before := c.wantClose(test.sent, reason); len(before) != 100 {
			t.Errorf("%d messages arrived before the close; want 100", len(before))
		}
		told := wire.Close{Status: test.asked, Reason: "because", Source: wire.SourceServer}
		sa.wantClosed(told)
		sb.wantClosed(told)
	}
}
