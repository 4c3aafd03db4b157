package push_test

import (
	"context"
	"strings"
	"sync"
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

// TestWaitingPushesDelayNoOther: pushes that wait for a client which reads nothing take
// all the room that such pushes have, and others go on to the same gateway.
func TestWaitingPushesDelayNoOther(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{SlowConsumerTimeout: -1})
	w.chat("chat-1")
	a.routed("/join")
	slow, quick := a.dial().join("room"), a.dial().join("room") // slow reads nothing more
	hub := push.Of(w.node("backend"))
	data := strings.Repeat("x", 200<<10)
	wait := func(ctx context.Context, timeout time.Duration) push.Result {
		r, _ := hub.Push(ctx, push.Message{To: router.ToSocket(slow.id), Data: data, Timeout: timeout}) // fails only when ctx ends
		return r
	}
	for wait(t.Context(), 200*time.Millisecond).Dropped[wire.DropTimeout] == 0 { // until the connection takes no more
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stuck sync.WaitGroup
	for range 4 {
		stuck.Go(func() { wait(ctx, patience) })
	}
	w.eventually("there is no room for another one that waits", func() bool {
		return len(wait(t.Context(), 200*time.Millisecond).Unanswered) == 1
	})
	for range 20 {
		r, err := hub.Push(t.Context(), push.Message{To: router.ToSocket(quick.id), Path: "/p", Policy: router.PushDrop, Timeout: patience / 4})
		if err != nil || r.Delivered != 1 {
			t.Fatalf("a push that does not wait: %+v, %v", r, err)
		}
		if e := quick.read(); e.Path != "/p" {
			t.Fatalf("got %+v", e)
		}
	}
	cancel()
	stuck.Wait()
}
