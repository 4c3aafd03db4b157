package gateway

import (
	"slices"
	"testing"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestTwoServicesOnOneSocket(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a/:x")})
	b := w.instance(gw.bp, registry.Service{Name: "b", Routes: routes("/b")}) // on the gateway's own node
	gw.routed("/a/1")
	gw.routed("/b")

	c := gw.dial()
	c.put(message("/a/1", "1", "x"))
	c.put(message("/b", "2", "y"))
	c.put(message("/a/2", "3", "z"))
	sa, sb := receive(w, "a opens", a.opened), receive(w, "b opens", b.opened)
	for _, want := range []struct {
		s   *peerSocket
		msg string
	}{{sa, message("/a/1", "1", "x")}, {sa, message("/a/2", "3", "z")}, {sb, message("/b", "2", "y")}} {
		if got := receive(w, "data", want.s.data); string(got.Payload) != want.msg || got.Type != wire.Text {
			t.Errorf("%s got %s; want %s", want.s.i.name, got.Payload, want.msg)
		}
	}
	if sa.open.Socket != sb.open.Socket || sa.open.Socket == "" {
		t.Errorf("the socket is %q in one service and %q in the other", sa.open.Socket, sb.open.Socket)
	}
	sa.send("from a")
	c.want("from a")
	sb.send("from b")
	c.want("from b")

	_ = c.Close()
	gone := wire.Close{Status: wire.CloseAbnormal, Reason: "client_gone", Source: wire.SourceClient}
	sa.wantClosed(gone)
	sb.wantClosed(gone)
}

// TestMessagesWithoutPath checks that they go to the service that used their id
// last.
func TestMessagesWithoutPath(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	node := w.node()
	a := w.instance(node, registry.Service{Name: "a", Routes: routes("/a")})
	b := w.instance(node, registry.Service{Name: "b", Routes: routes("/b")})
	gw.routed("/a")
	gw.routed("/b")

	c := gw.dial()
	c.put(`{"id":"1","data":"nobody used it"}`)
	c.wantError("1", wire.CodeNoPath)
	c.put(`{"data":"neither"}`)
	c.wantError("", wire.CodeNoPath)

	next := func(s *peerSocket, msg string) {
		t.Helper()
		if got := receive(w, "data", s.data); string(got.Payload) != msg {
			t.Fatalf("%s got %s; want %s", s.i.name, got.Payload, msg)
		}
	}
	put := func(s *peerSocket, msg string) {
		t.Helper()
		c.put(msg)
		next(s, msg)
	}
	c.put(message("/a", "1", "opens a"))
	sa := receive(w, "a opens", a.opened)
	next(sa, message("/a", "1", "opens a"))
	put(sa, `{"id":"x"}`) // with one service there is no doubt
	c.put(message("/b", "2", "opens b"))
	sb := receive(w, "b opens", b.opened)
	next(sb, message("/b", "2", "opens b"))

	put(sa, `{"id":"1"}`) // from before b was used
	put(sb, `{"id":"2"}`)
	put(sb, message("/b", "1", "takes over"))
	put(sb, `{"id":"1"}`)
	sa.sendID("server-1", "a asks")
	c.want("a asks")
	sb.sendID("server-2", "b asks")
	c.want("b asks")
	put(sb, `{"id":"server-2"}`)
	put(sa, `{"id":"server-1"}`)
}

func TestRefusedMessages(t *testing.T) {
	w := newWorld(t)
	rejected := make(chan wire.ErrorCode, 100)
	gw := w.gateway(Config{Hooks: Hooks{Rejected: func(code wire.ErrorCode) { rejected <- code }}})
	w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	c := gw.dial()
	for _, m := range []struct {
		msg, id string
		code    wire.ErrorCode
	}{
		{`{"path":"/nobody","id":"1"}`, "1", wire.CodeNoRoute},
		{`not json`, "", wire.CodeBadMessage},
		{``, "", wire.CodeBadMessage},
		{`[]`, "", wire.CodeBadMessage},
		{`{"id":"7","path":1}`, "7", wire.CodeBadMessage},
		{`{"id":"8","path":"/a","PATH":"/b"}`, "8", wire.CodeBadMessage},
		{`{"id":"9","data":1}`, "9", wire.CodeNoPath},
		{`{"data":1}`, "", wire.CodeNoPath},
		{`{"path":"a","id":"2"}`, "2", wire.CodeBadPath},
		{`{"path":"/a/../health","id":"3"}`, "3", wire.CodeBadPath},
		{`{"path":"/a\u0000","id":"4"}`, "4", wire.CodeBadPath},
	} {
		c.put(m.msg)
		c.wantError(m.id, m.code)
		if got := receive(w, "the hook", rejected); got != m.code {
			t.Errorf("%s: the hook was told %s; want %s", m.msg, got, m.code)
		}
	}
	c.put(message("/a", "5", "the socket is as good as new"))
	c.want(message("/a", "5", "the socket is as good as new"))
}

func TestNoInstance(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	node := w.node()
	w.instance(node, registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	if err := node.Registry().SetState(w.context(), "a", registry.StateDraining); err != nil {
		t.Fatal(err)
	}
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	c.wantError("1", wire.CodeUnavailable)
}

// TestServiceOfOtherGateways checks that named gateways alone route to a service.
func TestServiceOfOtherGateways(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	node := w.node()
	w.instance(node, registry.Service{Name: "a", Routes: routes("/a"), Gateways: []string{"internal"}})
	w.instance(node, registry.Service{Name: "b", Routes: routes("/b"), Gateways: []string{"internal", "public"}}).echo()
	gw.routed("/b")
	c := gw.dial()
	c.put(message("/a", "1", "x"))
	c.wantError("1", wire.CodeNoRoute)
	c.put(message("/b", "2", "x"))
	c.want(message("/b", "2", "x"))
}

// TestPins checks what the registry knows of sockets: least connections, and
// nothing once they are gone.
func TestPins(t *testing.T) {
	w := newWorld(t)
	unpinned := make(chan string, 100)
	gw := w.gateway(Config{Hooks: Hooks{Unpinned: func(_, reason string) { unpinned <- reason }}})
	service := registry.Service{Name: "a", Routes: routes("/a")}
	instances := []*instance{w.instance(w.node(), service), w.instance(w.node(), service)}
	w.eventually("both instances are known", func() bool {
		s := gw.bp.Registry().View().Services["a"]
		return s != nil && len(s.Instances) == 2
	})
	gw.routed("/a")
	var clients []*wsClient
	for range 10 {
		c := gw.dial()
		c.put(message("/a", "1", "x"))
		clients = append(clients, c)
		w.eventually("the message arrives", func() bool {
			return len(instances[0].opened)+len(instances[1].opened) == len(clients)
		})
	}
	var got []int
	for _, i := range instances {
		got = append(got, len(i.opened))
	}
	w.eventually("the registry counts them", func() bool {
		n := int64(0)
		for _, i := range gw.bp.Registry().View().Services["a"].Instances {
			n += i.Pins
		}
		return n == 10
	})
	if !slices.Equal(got, []int{5, 5}) {
		t.Errorf("the instances have %v sockets; want 5 each", got)
	}
	for _, c := range clients {
		_ = c.Close()
	}
	for _, i := range instances {
		for range 5 {
			receive(w, "close", receive(w, "socket", i.opened).closes)
		}
	}
	for range 10 {
		if reason := receive(w, "unpin", unpinned); reason != unpinClosed {
			t.Errorf("unpinned for %s; want %s", reason, unpinClosed)
		}
	}
	w.eventually("the registry has no pins", func() bool {
		for _, i := range gw.bp.Registry().View().Services["a"].Instances {
			if i.Pins != 0 {
				return false
			}
		}
		return true
	})
}
