package push_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestSlowClient: what a client does not read is dropped for it, and another one in
// its group gets everything.
func TestSlowClient(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{SlowConsumerTimeout: -1})
	w.chat("chat-1")
	a.routed("/join")
	slow, quick := a.dial().join("room"), a.dial().join("room")
	_ = slow // reads nothing more
	hub := push.Of(w.node("backend"))
	data := strings.Repeat("x", 60<<10)
	for range 1000 {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/p", Data: data, Policy: router.PushDrop})
		if err != nil || r.Targeted != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		if e := quick.read(); e.Path != "/p" {
			t.Fatalf("got %+v", e)
		}
		if r.Dropped[wire.DropSlow] == 1 {
			return
		}
	}
	t.Error("a client that reads nothing was given 60 MB")
}

// TestSlowClientForgets: pushes that waited for a client until their time was over
// take no room from later ones.
func TestSlowClientForgets(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{SlowConsumerTimeout: -1})
	w.chat("chat-1")
	a.routed("/join")
	slow := a.dial().join("room") // reads nothing more
	hub := push.Of(w.node("backend"))
	data := strings.Repeat("x", 200<<10)
	for late := 0; late < 12; {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToSocket(slow.id), Data: data, Timeout: 200 * time.Millisecond})
		if err != nil || r.Dropped[wire.DropSlow] > 0 {
			t.Fatalf("after %d that were too late: %+v, %v", late, r, err)
		}
		late += r.Dropped[wire.DropTimeout]
	}
}
