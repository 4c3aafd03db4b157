package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	jsonmw "github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestWaitTimesOut: a push that waits for a client which reads nothing is dropped at
// the end of its time, and what comes later is not held up by it.
func TestWaitTimesOut(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{SlowConsumerTimeout: -1})
	w.chat("chat-1")
	a.routed("/join")
	slow := a.dial().join("room")
	hub := push.Of(w.node("backend"))
	data := strings.Repeat("x", 60<<10)
	sent, unanswered, begin := 0, 0, time.Now()
	for {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/p", Data: data, Timeout: time.Second})
		if err == nil && len(r.Unanswered) > 0 && time.Since(begin) < patience {
			unanswered++ // this process stood still
			continue
		}
		if err != nil || r.Targeted != 1 || len(r.Unanswered) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if r.Dropped[wire.DropTimeout] == 1 {
			break
		}
		if sent += r.Delivered; sent > 1000 {
			t.Fatal("a client that reads nothing was given 60 MB")
		}
	}
	for range sent {
		if e := slow.read(); e.Path != "/p" {
			t.Fatalf("got %+v", e)
		}
	}
	r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/later"})
	if err != nil || r.Delivered != 1 {
		t.Errorf("when it reads again: %+v, %v", r, err)
	}
	for unanswered > 0 && slow.early == nil { // these may have been delivered
		e := slow.read()
		if e.Path != "/p" {
			slow.early = append(slow.early, e)
		}
		unanswered--
	}
	slow.gets("/later", "") // and not what was dropped
}

// TestLatest: of pushes that wait for a client, the last of each key is left.
func TestLatest(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{SlowConsumerTimeout: -1, PushWindow: 64 << 20})
	w.chat("chat-1")
	a.routed("/join")
	slow := a.dial().join("room")
	hub := push.Of(w.node("backend"))
	do := func(m push.Message) push.Result {
		t.Helper()
		m.To = router.ToGroup("room")
		r, err := hub.Push(context.Background(), m)
		if err != nil || r.Targeted != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	const filling = 400 // 24 MB: more than the buffers of the connection hold
	for range filling {
		if r := do(push.Message{Path: "/fill", Data: strings.Repeat("x", 60<<10)}); r.Delivered != 1 {
			t.Fatalf("filling: %+v", r)
		}
	}
	for i := range 10 {
		for _, key := range []string{"a", "b"} {
			r := do(push.Message{Path: "/" + key, Key: key, Data: i, Policy: router.PushLatest})
			if r.Queued != 1 {
				t.Fatalf("%s %d: %+v", key, i, r)
			}
		}
	}
	for range filling {
		if e := slow.read(); e.Path != "/fill" {
			t.Fatalf("got %+v", e)
		}
	}
	slow.gets("/a", "9")
	slow.gets("/b", "9")
	do(push.Message{Path: "/end"})
	slow.gets("/end", "")
}

// signedIn lets every client in as alice.
type signedIn struct{}

func (signedIn) Authenticate(context.Context, *auth.Handshake) (wire.Identity, error) {
	return wire.Identity{User: "alice", Method: "test"}, nil
}

// TestAuthenticatedUser: pushes to a user reach a client that is authenticated as one,
// from the moment that it is connected and without a handler.
func TestAuthenticatedUser(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{Authenticator: signedIn{}})
	hub := push.Of(w.node("backend"))
	c := a.dial()
	w.eventually("the user is found", func() bool {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToUser("alice"), Path: "/hello", Data: 1})
		return err == nil && r.Delivered == 1
	})
	c.gets("/hello", "1")
	_ = c.ws.Close()
	w.eventually("nothing is left in Redis", func() bool {
		for _, k := range w.audienceKeys() {
			if !strings.HasSuffix(k, ":w") {
				return false
			}
		}
		return true
	})
}

// TestEncodings: each client gets a push in its encoding: what is there for it, or
// else what JSON becomes in it.
func TestEncodings(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{})
	hub := push.Of(w.node("backend"))
	encodings := []envelope.Encoding{envelope.JSON, envelope.MsgPack, envelope.Protobuf}
	var clients []*client
	for _, e := range encodings {
		clients = append(clients, a.dial(e.Subprotocol()))
	}
	w.eventually("all three are there", func() bool {
		p, err := hub.Sockets(context.Background(), router.ToGateway("public"), push.Page{})
		return err == nil && len(p.Sockets) == 3
	})
	for _, test := range []struct {
		data any
		want [3]string
	}{
		{json.RawMessage(`{"n":1}`), [3]string{`{"n":1}`, "\x81\xa1n\x01", `{"n":1}`}},
		{router.Payloads{envelope.JSON: []byte(`1`), envelope.Protobuf: []byte("\x08\x01")}, [3]string{`1`, "\x01", "\x08\x01"}},
		{router.Payloads{envelope.MsgPack: []byte("\x81\xa1n\x02")}, [3]string{`{"n":2}`, "\x81\xa1n\x02", `{"n":2}`}},
	} {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToGateway("public"), Path: "/p", Data: test.data})
		if err != nil || r.Delivered != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		for i, e := range encodings {
			_ = clients[i].ws.SetReadDeadline(time.Now().Add(patience))
			_, b, err := clients[i].ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			head, err := e.Peek(b)
			if err != nil || string(head.Path) != "/p" || string(head.Data) != test.want[i] {
				t.Errorf("%s: %q, %v; want data %q", e.Subprotocol(), b, err, test.want[i])
			}
		}
	}
	r, err := hub.Push(context.Background(), push.Message{To: router.ToAll(), Data: router.Payloads{envelope.Protobuf: []byte("\x08\x01")}})
	if err != nil || r.Delivered != 1 || r.Dropped[wire.DropEncoding] != 2 {
		t.Errorf("data for Protobuf only: %+v, %v", r, err)
	}
}

// TestRepin: a socket stays in its groups, and its user's, when another instance takes
// it over.
func TestRepin(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{})
	instance := func(name string) *service.Service {
		r := router.NewRouter()
		r.Use(jsonmw.Middleware())
		r.PublicBind("/join", func(c *router.Context) {
			if c.Error = c.JoinGroup("room"); c.Error == nil {
				c.Error = c.SetUser("alice")
			}
			_ = c.Send(router.Raw(fmt.Sprintf("%q", name)))
		})
		r.PublicBind("/where", func(c *router.Context) { _ = c.Send(router.Raw(fmt.Sprintf("%q", name))) })
		s := service.New("chat", w.node(name), r, service.Config{OnInstanceLoss: registry.PolicyRepin})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		return s
	}
	stop := func(s *service.Service) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	first := instance("chat-1")
	a.routed("/join")
	c := a.dial()
	c.call("/join", nil)
	second := instance("chat-2")
	defer stop(second)
	stop(first)
	if got := string(c.call("/where", nil)); got != `"chat-2"` {
		t.Fatalf("the socket is on %s", got)
	}
	hub := push.Of(w.node("backend"))
	for path, to := range map[string]router.Target{"/room": router.ToGroup("room"), "/user": router.ToUser("alice")} {
		if r, err := hub.Push(context.Background(), push.Message{To: to, Path: path}); err != nil || r.Delivered != 1 {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
		c.gets(path, "")
	}
}
