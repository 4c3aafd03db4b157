package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestHandlerCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseClose(func(ctx *router.Context) {
			tr.addf("%v", ctx.Send("goodbye"))
			status, reason, source := ctx.CloseStatus()
			tr.addf("%d %s %d", status, reason, source)
		})
		r.Bind("/kick", func(ctx *router.Context) {
			_ = ctx.Send("first")
			ctx.CloseWithStatus(router.StatusPolicyViolation, strings.Repeat("r", 200))
			ctx.Close() // has no effect any more
			tr.addf("%v %v", ctx.Err(), ctx.Send("last"))
			ctx.Next()
		}, func(*router.Context) { tr.addf("never") })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/kick", "1", nil), msg("/kick", "2", nil))
		<-c.Done()
		reason := strings.Repeat("r", 123)
		tr.is(t, "context canceled <nil>", "<nil>", "1008 "+reason+" 1")
		sent := c.heard()
		want := []string{`{"id":"1","data":{"message":"first"}}`, `{"id":"1","data":{"message":"last"}}`, `{"data":{"message":"goodbye"}}`}
		if fmt.Sprint(sent) != fmt.Sprint(want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		if fmt.Sprint(c.conn.closings()) != fmt.Sprintf("[{1008 %s}]", reason) {
			t.Errorf("closed %v", c.conn.closings())
		}
	})
}

// TestHandlerClosesLate: the client need not wait for a handler that ignores the end.
func TestHandlerClosesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		var closedFor time.Duration
		r.UseClose(func(*router.Context) { closedFor = 1 })
		release := make(chan struct{})
		r.Bind("/kick", func(ctx *router.Context) { ctx.Close(); <-release })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/kick", "", nil))
		time.Sleep(router.DefaultTurnTimeout / 2)
		synctest.Wait()
		if len(c.conn.closings()) != 0 {
			t.Error("closed before the handler had its time")
		}
		time.Sleep(router.DefaultTurnTimeout)
		synctest.Wait()
		if len(c.conn.closings()) != 1 || closedFor != 0 {
			t.Errorf("closed %v, close handlers %v: want the connection closed and the handlers waiting", c.conn.closings(), closedFor)
		}
		close(release)
		<-c.Done()
		if closedFor != 1 {
			t.Error("the close handlers did not run")
		}
	})
}

func TestReservedStatusIsNotSent(t *testing.T) {
	for given, want := range map[router.Status]router.Status{
		0: 1000, 1005: 1000, 1006: 1011, 1015: 1011, 999: 1011, 5000: 1011, 1004: 1011, 4999: 4999, 3000: 3000, 1013: 1013,
	} {
		bubble(t, func(t *testing.T) {
			r := newRouter(t, router.Config{})
			r.Bind("/a", func(ctx *router.Context) { ctx.CloseWithStatus(given, "") })
			c := connect(t, r, router.SocketInfo{})
			c.say(msg("/a", "", nil))
			<-c.Done()
			if c.conn.closings()[0].status != want {
				t.Errorf("%d was sent as %d, want %d", given, c.conn.closings()[0].status, want)
			}
		})
	}
}

// TestEndCancels: without finish, contexts end, the queue is dropped, and the close
// handlers wait for the handlers.
func TestEndCancels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseClose(func(ctx *router.Context) { tr.addf("close %v", ctx.Send("x")) })
		r.Bind("/a", func(ctx *router.Context) {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-derived.Done()
			tr.addf("%v, send %v", derived.Err(), ctx.Send("x") != nil)
			time.Sleep(time.Minute)
			tr.addf("handler ends")
		})
		c := connect(t, r, router.SocketInfo{})
		c.conn.gate = make(chan struct{}) // nobody takes messages any more
		c.say(msg("/a", "", nil), msg("/a", "", nil))
		if n := c.Pending(); n != 2 {
			t.Errorf("%d pending, want 2", n)
		}
		c.hangUp()
		tr.is(t, "context canceled, send true", "handler ends", "close context canceled")
		if n := c.Pending(); n != 0 {
			t.Errorf("%d pending at the end", n)
		}
	})
}

// TestEndFinishes: with finish, everything queued is handled and answered, and what
// waits for the client or takes longer than a turn is cancelled then.
func TestEndFinishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseClose(func(*router.Context) { tr.addf("close") })
		r.Bind("/quick", func(ctx *router.Context) {
			time.Sleep(time.Millisecond)
			tr.addf("quick %v", ctx.Err())
			_ = ctx.Send("done")
		})
		r.Bind("/asks", func(ctx *router.Context) {
			_, err := ctx.Request("?")
			tr.addf("asks: %v", err)
		})
		r.Bind("/subscribes", func(ctx *router.Context) {
			<-ctx.Done()
			tr.addf("subscription ends")
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/subscribes", "1", nil))
		time.Sleep(2 * router.DefaultTurnTimeout)
		c.say(msg("/asks", "2", nil))
		c.heard()
		for i := range 5 {
			c.Deliver(router.MessageText, []byte(msg("/quick", fmt.Sprint(i), nil)))
		}
		c.End(router.StatusServiceRestart, "drain", router.ServerCloseSource, true)
		c.End(router.StatusServiceRestart, "drain", router.ServerCloseSource, true)
		c.Deliver(router.MessageText, []byte(msg("/quick", "late", nil)))
		<-c.Done()
		if got := strings.Join(tr.lines, ", "); strings.Count(got, "quick <nil>") != 5 ||
			!strings.Contains(got, "asks: socket is closed") || !strings.HasSuffix(got, "quick <nil>, subscription ends, close") {
			t.Errorf("happened: %s", got)
		}
		if n := len(c.heard()); n != 5 {
			t.Errorf("%d answers, want 5", n)
		}
	})
}

// TestHandedBack: to the handlers of a socket that is handed back, the server ended it.
func TestHandedBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseClose(func(ctx *router.Context) {
			status, _, source := ctx.CloseStatus()
			tr.addf("%d %v", status, source == router.ServerCloseSource)
		})
		c := connect(t, r, router.SocketInfo{})
		c.End(router.StatusServiceRestart, "", wire.SourceHandoff, true)
		<-c.Done()
		tr.is(t, "1012 true")
	})
}

// TestEndFinishThenCancel: a drain that takes too long can be cut short.
func TestEndFinishThenCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{TurnTimeout: -1})
		r.UseClose(func(ctx *router.Context) {
			status, reason, source := ctx.CloseStatus()
			tr.addf("%d %s %d", status, reason, source)
		})
		r.Bind("/a", func(ctx *router.Context) { <-ctx.Done(); tr.addf("cancelled") })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/a", "", nil), msg("/a", "", nil))
		c.End(router.StatusServiceRestart, "drain", router.ServerCloseSource, true)
		time.Sleep(time.Hour)
		synctest.Wait()
		tr.is(t)
		c.hangUp()
		tr.is(t, "cancelled", "1012 drain 1")
	})
}
