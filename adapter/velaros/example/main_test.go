package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	velarosadapter "github.com/boreas-ws/boreas/adapter/velaros"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/service"
)

// TestChat says what the command's documentation shows.
func TestChat(t *testing.T) {
	bp, err := embedded.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bp.Close(context.Background()) }()
	gw, err := gateway.New("public", bp, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- gw.Run(ctx) }()
	go func() {
		ended <- service.New("chat", bp, velarosadapter.Handler(newRouter()), service.Config{}).Run(ctx)
	}()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); gw.Ready() != nil || !gw.CanServePath("/chat/join"); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the gateway does not know the service")
		}
	}
	server := httptest.NewServer(gw)
	defer server.Close()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	defer func() { _ = ws.Close() }()
	for _, step := range []struct{ client, server string }{
		{`{"path":"/chat/message","id":"0","data":{"text":"hi"}}`, `"join a room first"`},
		{`{"path":"/chat/join","id":"1","data":{"username":"alice","room":"general"}}`, `{"room":"general","status":"joined"}`},
		{`{"path":"/chat/message","id":"2","data":{"text":"hi"}}`, `{"status":"sent"}`},
		{`{"path":"/health","id":"3"}`, `"no_route"`},
	} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(step.client)); err != nil {
			t.Fatal(err)
		}
		_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, b, err := ws.ReadMessage()
		if err != nil || !strings.Contains(string(b), step.server) {
			t.Fatalf("%s answers %s (%v); want %s", step.client, b, err, step.server)
		}
	}
}
