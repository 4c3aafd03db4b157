package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/test/cluster"
)

// backend is a program that pushes through a gateway's internal listener.
func backend(t *testing.T, g *cluster.Gateway) *pushclient.Client {
	t.Helper()
	c, err := pushclient.New("http://"+g.Internal, pushclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// belongs makes the client a user's, a member of a group, and a watcher of another, and
// returns the id of its socket.
func (c *client) belongs(user, group, watch string) string {
	c.t.Helper()
	var is struct{ Socket, Error string }
	c.request("/member", map[string]string{"user": user, "group": group, "watch": watch}, &is)
	if is.Socket == "" {
		c.t.Fatalf("membership: %s", is.Error)
	}
	return is.Socket
}

// gets reads the next message, which must be a push with a path.
func (c *client) gets(path string, within time.Duration) json.RawMessage {
	c.t.Helper()
	a, err := c.tryRead(within)
	if err != nil || a.Path != path || a.ID != "" {
		c.t.Fatalf("got %+v %s, %v; want a push to %s", a, a.Data, err, path)
	}
	return a.Data
}

// A user with five connections on three gateways gets each push on each of them, once;
// one of them closed, on the other four; a gateway killed, on the rest. Those who watch
// are told of each that is gone, once.
func TestPushesReachEachConnectionOnce(t *testing.T) {
	s := startSystem(t, 3, 2)
	watcher := dial(t, s.gateways[2].URL(), nil)
	watcher.belongs("", "", "room")
	watcher.gets("/presence", patience)
	var clients []*client
	var ids []string
	for _, g := range []int{0, 0, 1, 1, 2} {
		c := dial(t, s.gateways[g].URL(), nil)
		clients, ids = append(clients, c), append(ids, c.belongs("alice", "room", ""))
	}
	left, there := map[string]int{}, map[string]bool{}
	events := func(within time.Duration, until int) { // how many are there
		t.Helper()
		for deadline := time.Now().Add(within); len(there) != until; {
			var e push.PresenceEvent
			if err := json.Unmarshal(watcher.gets("/presence", time.Until(deadline)), &e); err != nil || e.Event != push.EventChange {
				t.Fatalf("%+v, %v", e, err)
			}
			for _, m := range e.Joined {
				there[m.Socket] = true
			}
			for _, m := range e.Left {
				delete(there, m.Socket)
				left[m.Socket]++
			}
		}
	}
	events(patience, 5)

	n := 0
	sends := func(delivered, gateways uint32, to ...*client) {
		t.Helper()
		n++
		r, err := backend(t, s.gateways[2]).Push(t.Context(), router.Push{To: router.ToUser("alice"), Path: "/hello", Data: n}, "")
		if err != nil || r.GetDelivered() != delivered || r.GetGateways() != gateways || r.GetDeliveredLocally() != 1 {
			t.Fatalf("push %d: %v, %v; want %d delivered by %d gateways", n, r, err, delivered, gateways)
		}
		for i, c := range to { // the next message is this push: none came twice
			if got := string(c.gets("/hello", patience)); got != fmt.Sprint(n) {
				t.Fatalf("client %d got push %s; want %d", i, got, n)
			}
		}
	}
	sends(5, 3, clients...)

	_ = clients[0].ws.Close()
	events(patience, 4)
	sends(4, 3, clients[1:]...)

	killed := time.Now()
	if err := s.gateways[0].Kill(); err != nil {
		t.Fatal(err)
	}
	n++
	r, err := backend(t, s.gateways[2]).Push(t.Context(), router.Push{To: router.ToUser("alice"), Path: "/hello", Data: n, Timeout: 4 * time.Second}, "")
	if err != nil || r.GetDelivered() != 3 || r.GetTargeted() != 3 {
		t.Errorf("just after the kill: %v, %v", r, err)
	}
	for _, c := range clients[2:] {
		if got := string(c.gets("/hello", patience)); got != fmt.Sprint(n) {
			t.Errorf("just after the kill came push %s; want %d", got, n)
		}
	}
	events(2*patience, 3) // two leases, and what a busy machine adds
	t.Logf("the leaves came %v after the kill", time.Since(killed).Round(time.Millisecond))
	sends(3, 2, clients[2:]...)
	for i, id := range ids {
		want := 0
		if i < 2 {
			want = 1
		}
		if left[id] != want {
			t.Errorf("socket %d left %d times; want %d", i, left[id], want)
		}
	}
	presence, err := backend(t, s.gateways[1]).API().Presence(t.Context(), connect.NewRequest(&pushv1.PresenceRequest{
		Of: &pushv1.PresenceRequest_User{User: "alice"},
	}))
	if err != nil || !presence.Msg.GetOnline() || presence.Msg.GetSockets() != 3 || presence.Msg.GetSince() == nil {
		t.Errorf("presence: %v, %v", presence, err)
	}
}
