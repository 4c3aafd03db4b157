package push_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
)

// TestGroup: what a handler pushes to a group reaches its members on two gateways,
// but not the exception.
func TestGroup(t *testing.T) {
	w := newWorld(t)
	a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
	w.chat("chat-1")
	w.chat("chat-2")
	a.routed("/join")
	b.routed("/join")
	alice, bob, carol := a.dial().join("room"), b.dial().join("room"), b.dial().join("other")
	var got router.PushResult
	if err := json.Unmarshal(alice.call("/say", request{Group: "room", Text: "hi"}), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(router.PushResult{Gateways: 2, Targeted: 1, Delivered: 1}, got); d != "" {
		t.Error(d)
	}
	bob.gets("/said", `{"Group":"room","User":"","Text":"hi"}`)

	bob.call("/leave", request{Group: "room"})
	alice.call("/say", request{Group: "room", Text: "still here?"})
	r, err := push.Of(w.node("backend")).Push(context.Background(), push.Message{To: router.ToAll(), Path: "/news", Data: 1})
	if err != nil || r.Delivered != 3 || r.Gateways != 2 {
		t.Errorf("to all: %+v, %v", r, err)
	}
	for _, c := range []*client{alice, bob, carol} {
		c.gets("/news", "1")
	}
}
