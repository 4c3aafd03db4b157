package push_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	goredis "github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// loseAudiences removes what Redis has of users and groups, but no lease: as one server
// of a cluster may lose it.
func (w *world) loseAudiences() {
	w.Helper()
	ctx := context.Background()
	keys, err := redis.Client().Keys(ctx, "bo:"+w.namespace+":{a*").Result()
	if err == nil && len(keys) > 0 {
		err = redis.Client().Del(ctx, keys...).Err()
	}
	if err != nil {
		w.Fatal(err)
	}
}

// TestLostEntries: who is in a group is found although Redis has lost it, also by a
// sender that never knew; and Redis gets it again.
func TestLostEntries(t *testing.T) {
	w := newWorld(t)
	a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
	w.chat("chat-1")
	a.routed("/join")
	b.routed("/join")
	a.dial().join("one")
	b.dial().join("two")
	hub := push.Of(w.node("backend"))
	w.eventually("the gateways are seen", func() bool {
		r, err := hub.Push(context.Background(), push.Message{To: router.ToAll()})
		return err == nil && r.Delivered == 2
	})
	to := func(group string) push.Result {
		t.Helper()
		r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup(group), Path: "/p"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var unsure atomic.Int64
	hub.Observe(push.Hooks{Looked: func(n int, _ time.Duration, _ error) { unsure.Add(int64(n)) }})
	for range 3 {
		w.loseAudiences()
		if r := to("one"); r.Delivered != 1 {
			t.Errorf("a push to a group that Redis has lost: %+v", r)
		}
		if r := to("two"); r.Delivered != 1 {
			t.Errorf("a push to another group that Redis has lost: %+v", r)
		}
	}
	w.eventually("only gateways that have somebody are asked", func() bool {
		r := to("one")
		return r.Delivered == 1 && r.Gateways == 1
	})
	if unsure.Load() == 0 {
		t.Error("no look-up named a gateway of which Redis had lost something")
	}
}

// TestSenderLooksAgain: what a sender remembers ends when a gateway joins. Redis may have
// lacked entries of it, and the sender did not ask it since it did not know of it.
func TestSenderLooksAgain(t *testing.T) {
	w := newWorld(t)
	long := func(c *backplane.Config) { c.LeaseTTL = 10 * patience }
	hub := push.Of(w.node("backend", long))
	looks := make(chan struct{}, 100)
	hub.Observe(push.Hooks{Looked: func(int, time.Duration, error) { looks <- struct{}{} }})
	say := func() (looked int) {
		t.Helper()
		if _, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/p"}); err != nil {
			t.Fatal(err)
		}
		return len(looks)
	}
	for range 2 {
		if looked := say(); looked != 1 {
			t.Fatalf("%d look-ups; the first push needs one, the second none", looked)
		}
	}
	w.gateway("gw-a", gateway.Config{})
	w.eventually("the sender looks again", func() bool { return say() == 2 })
	if looked := say(); looked != 2 {
		t.Errorf("%d look-ups after one gateway has joined", looked)
	}
}

// TestLostWatchers: Redis has lost that a sender remembers where a group is. A join at
// another gateway is not confirmed before the sender looks again.
func TestLostWatchers(t *testing.T) {
	w := newWorld(t)
	a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
	w.chat("chat-1")
	a.routed("/join")
	b.routed("/join")
	a.dial().join("room")
	hub := push.Of(w.node("backend"))
	say := func() push.Result {
		t.Helper()
		r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/p"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	c := b.dial()
	w.eventually("only one gateway is asked", func() bool { r := say(); return r.Gateways == 1 && r.Delivered == 1 })
	w.loseAudiences()
	c.join("room")
	if r := say(); r.Delivered != 2 {
		t.Errorf("a push after the join: %+v", r)
	}
	c.gets("/p", "")
}

// TestRevivedGateway: the others took a gateway for dead, so that no push came to it. Its
// sockets of users are closed, those of nobody are not.
func TestRevivedGateway(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{})
	w.chat("chat-1")
	a.routed("/login")
	alice, nobody := a.dial(), a.dial()
	alice.login("alice")
	ctx := context.Background()
	leases := "bo:" + w.namespace + ":{gateways}:l"
	members, err := redis.Client().ZRange(ctx, leases, 0, -1).Result()
	if err != nil || len(members) != 1 {
		t.Fatalf("leases %v, %v", members, err)
	}
	if err := redis.Client().ZAdd(ctx, leases, goredis.Z{Member: members[0]}).Err(); err != nil { // condemned
		t.Fatal(err)
	}
	_, err = alice.tryRead(patience)
	if closed, ok := err.(*websocket.CloseError); !ok || closed.Code != websocket.CloseServiceRestart { //nolint:errorlint // it is not wrapped
		t.Errorf("alice's socket: %v", err)
	}
	nobody.call("/login", request{User: "bob"})
	hub := push.Of(w.node("backend"))
	w.eventually("bob is found", func() bool {
		r, err := hub.Push(ctx, push.Message{To: router.ToUser("bob"), Path: "/p"})
		return err == nil && r.Delivered == 1
	})
}

// TestUnreadablePush: a gateway tells that it cannot read a push, as those of a version to
// come may be.
func TestUnreadablePush(t *testing.T) {
	w := newWorld(t)
	a := w.gateway("gw-a", gateway.Config{})
	dropped := make(chan wire.DropReason, 1)
	push.Of(a.bp).Observe(push.Hooks{Dropped: func(reason wire.DropReason, _ int) { dropped <- reason }})
	backend := w.node("backend")
	w.eventually("the gateway is seen", func() bool { return len(backend.Registry().View().Gateways) == 1 })
	if err := backend.SendFrame(context.Background(), a.bp.Self(), wire.KindPush, 1, []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	select {
	case reason := <-dropped:
		if reason != wire.DropUnreadable {
			t.Errorf("dropped because of %q", reason)
		}
	case <-time.After(patience):
		t.Error("nothing is dropped")
	}
}
