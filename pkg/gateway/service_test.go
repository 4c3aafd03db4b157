package gateway_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/router"
	jsonmw "github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// TestWithRouter is what a user's own test looks like: gateway and service in one
// process, nothing installed.
func TestWithRouter(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	bp, err := embedded.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bp.Close(ctx) })

	closed := make(chan router.Status, 1)
	r := router.NewRouter()
	r.Use(jsonmw.Middleware())
	r.PublicBind("/add/:n", func(c *router.Context) { _ = c.Send(map[string]string{"n": c.Params()["n"]}) })
	r.PublicBind("/ask", func(c *router.Context) {
		var answer struct{ Mood string }
		if err := c.RequestInto(map[string]string{"question": "how are you"}, &answer); err != nil {
			t.Error(err)
		}
		_ = c.Send(map[string]string{"n": answer.Mood})
	})
	r.Bind("/private", func(c *router.Context) { _ = c.Send("must not be reached") })
	r.UseClose(func(c *router.Context) {
		status, _, _ := c.CloseStatus()
		closed <- status
	})
	s := service.New("calc", bp, r, service.Config{})
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(ctx) })

	gw, err := gateway.New("public", bp, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(running) }()
	server := httptest.NewServer(gw)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
	})
	for !gw.CanServePath("/ask") || gw.Ready() != nil {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the gateway does not get ready")
		}
	}

	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { c.Close() })
	type envelope struct {
		ID   string            `json:"id,omitempty"`
		Path string            `json:"path,omitempty"`
		Data map[string]string `json:"data,omitempty"`
	}
	exchange := func(e envelope) (answer envelope) {
		t.Helper()
		if err := c.WriteJSON(e); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadJSON(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	show := func(e envelope) string {
		b, _ := json.Marshal(e)
		return string(b)
	}
	if got := show(exchange(envelope{ID: "1", Path: "/add/7"})); got != `{"id":"1","data":{"n":"7"}}` {
		t.Errorf("/add/7: %s", got)
	}
	question := exchange(envelope{ID: "2", Path: "/ask"})
	if question.ID == "" || question.Data["question"] != "how are you" {
		t.Fatalf("the service asked %s", show(question))
	}
	if got := show(exchange(envelope{ID: question.ID, Data: map[string]string{"mood": "fine"}})); got != `{"id":"2","data":{"n":"fine"}}` {
		t.Errorf("/ask: %s", got)
	}
	if got := show(exchange(envelope{ID: "3", Path: "/private"})); !strings.Contains(got, `"no_route"`) {
		t.Errorf("/private: %s", got)
	}
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4002, "bye"), time.Now().Add(time.Second))
	select {
	case status := <-closed:
		if status != 4002 {
			t.Errorf("UseClose was told %d", status)
		}
	case <-ctx.Done():
		t.Error("UseClose did not run")
	}
}
