package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
)

// audienceKeys lists the keys in Redis that users and groups have.
func (w *world) audienceKeys() []string {
	w.Helper()
	keys, err := redis.Client().Keys(context.Background(), "bo:"+w.namespace+":*").Result()
	if err != nil {
		w.Fatal(err)
	}
	var found []string
	for _, k := range keys {
		if strings.Contains(k, "}:u.") || strings.Contains(k, "}:g.") || strings.Contains(k, "{gateways}:p:") {
			found = append(found, k)
		}
	}
	return found
}

// TestUser: a user with five connections on three gateways gets a push five times,
// four times after one of them closed, and the rest get it when a gateway crashes.
func TestUser(t *testing.T) {
	w := newWorld(t)
	gateways := []*server{w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{}), w.gateway("gw-c", gateway.Config{})}
	w.chat("chat-1")
	hub := push.Of(w.node("backend"))
	var clients []*client
	for i, g := range []int{0, 0, 1, 1, 2} {
		gateways[g].routed("/login")
		clients = append(clients, gateways[g].dial().login("alice"))
		r, err := hub.Push(context.Background(), push.Message{To: router.ToUser("alice"), Path: "/hello"})
		if err != nil || r.Delivered != i+1 { // what was acknowledged is reached, at once
			t.Fatalf("after %d logins: %+v, %v", i+1, r, err)
		}
		for _, c := range clients {
			c.gets("/hello", "")
		}
	}
	_ = clients[0].ws.Close()
	w.eventually("the closed connection is gone", func() bool { return gateways[0].SocketCount() == 1 })
	r, err := hub.Push(context.Background(), push.Message{To: router.ToUser("alice"), Path: "/four", Data: 4})
	if err != nil || r.Delivered != 4 || r.Targeted != 4 || r.Gateways != 3 {
		t.Errorf("with four connections: %+v, %v", r, err)
	}
	for _, c := range clients[1:] {
		c.gets("/four", "4")
	}

	gateways[1].crash()
	r, err = hub.Push(context.Background(), push.Message{To: router.ToUser("alice"), Path: "/two", Timeout: 4 * time.Second})
	if err != nil || r.Delivered != 2 {
		t.Errorf("after a crash: %+v, %v", r, err)
	}
	clients[1].gets("/two", "")
	clients[4].gets("/two", "")
	w.eventually("the dead gateway is forgotten", func() bool {
		r, err = hub.Push(context.Background(), push.Message{To: router.ToUser("alice"), Path: "/again", Timeout: time.Second})
		return err == nil && r.Gateways == 2 && r.Delivered == 2
	})
	for _, g := range gateways {
		g.stop()
	}
	w.eventually("nothing is left in Redis", func() bool { return len(w.audienceKeys()) == 0 })
}

// TestOrder: every member on two gateways gets every message of a publisher once, in
// order.
func TestOrder(t *testing.T) {
	const receivers, messages = 1000, 40
	w := newWorld(t)
	cfg := gateway.Config{PingInterval: -1, PeerTimeout: -1, SlowConsumerTimeout: -1} // nobody reads while the others come
	gateways := []*server{w.gateway("gw-a", cfg), w.gateway("gw-b", cfg)}
	w.chat("chat-1")
	var clients []*client
	for i := range receivers {
		g := gateways[i%2]
		g.routed("/join")
		clients = append(clients, g.dial().join("room"))
	}
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Go(func() {
			for i := range messages {
				e, err := c.tryRead(3 * patience)
				if err != nil || string(e.Data) != fmt.Sprint(i) {
					t.Errorf("message %d is %s, %v", i, e.Data, err)
					return
				}
			}
		})
	}
	hub := push.Of(w.node("backend"))
	var sent []*push.Pending
	for i := range messages {
		p, err := hub.Send(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/n", Data: i, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	for i, p := range sent {
		if r, err := p.Wait(context.Background()); err != nil || r.Delivered != receivers {
			t.Fatalf("message %d: %+v, %v", i, r, err)
		}
	}
	reading.Wait()
}

// TestTargets: a push to a socket, and to the gateways of a name, in all encodings.
func TestTargets(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{})
	w.chat("chat-1")
	a.routed("/join")
	alice, bob := a.dial().join("room"), a.dial().join("room")
	packed := a.dial("velaros-msgpack")
	w.eventually("the gateway has all clients", func() bool { return a.SocketCount() == 3 })
	hub := push.Of(w.node("backend"))
	do := func(m push.Message, want int) {
		t.Helper()
		if r, err := hub.Push(context.Background(), m); err != nil || r.Delivered != want {
			t.Errorf("%+v: %+v, %v; want %d", m, r, err, want)
		}
	}
	do(push.Message{To: router.ToSocket(alice.id), Path: "/a", Data: json.RawMessage(`{"n":1}`)}, 1)
	alice.gets("/a", `{"n":1}`)
	do(push.Message{To: router.ToSocket("NOBODY.gw-a")}, 0)
	do(push.Message{To: router.ToSocket("NOBODY.gw-x")}, 0)
	do(push.Message{To: router.ToUser("nobody")}, 0)
	do(push.Message{To: router.ToGateway("internal")}, 0)
	do(push.Message{To: router.ToGateway("public"), Path: "/p", Data: 7, Except: []string{alice.id}}, 2)
	bob.gets("/p", "7")
	_ = packed.ws.SetReadDeadline(time.Now().Add(patience))
	if _, b, err := packed.ws.ReadMessage(); err != nil || string(b) != "\x82\xa4path\xa2/p\xa4data\x07" {
		t.Errorf("MessagePack: %q, %v", b, err)
	}
	alice.login("alice")
	do(push.Message{To: router.ToGroup("room"), Path: "/x", ExceptUsers: []string{"alice"}}, 1)
	bob.gets("/x", "")
	for _, bad := range []push.Message{{}, {To: router.ToGroup("")}, {To: router.ToAll(), Data: func() {}}, {To: router.ToAll(), Data: strings.Repeat("x", 1<<20)}} {
		if _, err := hub.Push(context.Background(), bad); err == nil {
			t.Errorf("%+v was pushed", bad.To)
		}
	}
}
