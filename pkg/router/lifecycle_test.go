package router_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

// trace collects what happens, in the order in which it does: the bubbles of these
// tests run handlers one at a time unless stated otherwise.
type trace struct{ lines []string }

func (tr *trace) add(format string, args ...any) {
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

func (tr *trace) is(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(tr.lines) != fmt.Sprint(want) {
		t.Errorf("happened:\n  %q\nwant:\n  %q", tr.lines, want)
	}
	tr.lines = nil
}

func TestOpenAndClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		step := func(name string, next bool) func(*router.Context) {
			return func(ctx *router.Context) {
				status, reason, source := ctx.CloseStatus()
				tr.add("%s %d %s %d", name, status, reason, source)
				if next {
					ctx.Next()
					tr.add("%s ends", name)
				}
			}
		}
		sub := router.NewRouter()
		sub.UseOpen(step("sub opens", false))
		sub.UseClose(step("sub closes", false))
		r.UseOpen(step("open 1", true), step("open 2", false))
		r.Use("/sub", sub)
		r.Use(object{&tr.lines})
		r.UseOpen(step("open 3", false))
		r.UseClose(step("close 1", true), func(ctx *router.Context) { ctx.Error = errors.New("x"); panic("y") })
		r.UseClose(step("close 2", false))
		r.Bind("/a", func(*router.Context) { tr.add("message") })

		c := connect(t, r, router.SocketInfo{})
		synctest.Wait()
		tr.is(t, "open 1 0  0", "open 2 0  0", "sub opens 0  0", "open", "open 3 0  0", "open 1 ends")
		c.say(msg("/a", "", nil), msg("/a", "", nil))
		tr.is(t, "handle", "message", "handle", "message")
		c.End(router.StatusGoingAway, "bye", router.ClientCloseSource, false)
		c.End(router.StatusGoingAway, "again", router.ClientCloseSource, false)
		<-c.Done()
		tr.is(t, "sub closes 1001 bye 0", "close", "close 1 1001 bye 0", "close 2 1001 bye 0", "close 1 ends")
		c.say(msg("/a", "", nil))
		tr.is(t)
	})
}

// TestOpenEndsEarly: what follows an open handler that fails or closes does not run.
func TestOpenEndsEarly(t *testing.T) {
	for name, handler := range map[string]func(*router.Context){
		"error": func(ctx *router.Context) { ctx.Error = errors.New("x") },
		"panic": func(*router.Context) { panic("x") },
		"close": func(ctx *router.Context) { ctx.CloseWithStatus(router.StatusPolicyViolation, "no") },
	} {
		bubble(t, func(t *testing.T) {
			var tr trace
			r := newRouter(t, router.Config{})
			r.UseOpen(handler, func(*router.Context) { tr.add("never") })
			r.UseClose(func(*router.Context) { tr.add("closed") })
			r.Bind("/a", func(*router.Context) { tr.add("message") })
			c := connect(t, r, router.SocketInfo{})
			c.say(msg("/a", "", nil))
			if name != "close" {
				tr.is(t, "message") // the socket lives on
				c.hangUp()
			}
			<-c.Done()
			tr.is(t, "closed")
		})
	}
}

// TestOpenBeforeMessages: messages wait for the open handlers, also for slow ones
// and for ones that ask the client something.
func TestOpenBeforeMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseOpen(json.Middleware(), func(ctx *router.Context) {
			time.Sleep(10 * router.DefaultTurnTimeout)
			answer, err := ctx.Request("who are you?")
			tr.add("open %s %v", answer, err)
		})
		r.Bind("/a", func(*router.Context) { tr.add("message") })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/a", "", nil))
		time.Sleep(20 * router.DefaultTurnTimeout)
		synctest.Wait()
		tr.is(t)
		sent := c.heard()
		if len(sent) != 1 {
			t.Fatalf("sent %q", sent)
		}
		id := strings.Split(sent[0], `"`)[3]
		c.say(msg("/a", "", nil), msg("", id, "ada"))
		tr.is(t, `open "ada" <nil>`, "message", "message")
		c.hangUp()
	})
}

// TestEndBeforeOpen: a client that is gone at once has still come and gone.
func TestEndBeforeOpen(t *testing.T) {
	for _, finish := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			var tr trace
			r := newRouter(t, router.Config{})
			r.UseOpen(func(*router.Context) { tr.add("open") })
			r.UseClose(func(ctx *router.Context) { tr.add("close %v", ctx.Err()) })
			r.Bind("/a", func(*router.Context) { tr.add("message") })
			c := connect(t, r, router.SocketInfo{})
			c.Deliver(router.MessageText, []byte(msg("/a", "", nil)))
			c.End(router.StatusAbnormalClosure, "", router.ClientCloseSource, finish)
			<-c.Done()
			if finish {
				tr.is(t, "open", "message", "close <nil>")
			} else {
				tr.is(t, "open", "close <nil>")
			}
		})
	}
}

func TestHandlerCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.UseClose(func(ctx *router.Context) {
			tr.add("%v", ctx.Send("goodbye"))
			status, reason, source := ctx.CloseStatus()
			tr.add("%d %s %d", status, reason, source)
		})
		r.Bind("/kick", func(ctx *router.Context) {
			_ = ctx.Send("first")
			ctx.CloseWithStatus(router.StatusPolicyViolation, strings.Repeat("r", 200))
			ctx.Close() // has no effect any more
			tr.add("%v %v", ctx.Err(), ctx.Send("last"))
			ctx.Next()
		}, func(*router.Context) { tr.add("never") })
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
		r.UseClose(func(ctx *router.Context) { tr.add("close %v", ctx.Send("x")) })
		r.Bind("/a", func(ctx *router.Context) {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-derived.Done()
			tr.add("%v, send %v", derived.Err(), ctx.Send("x") != nil)
			time.Sleep(time.Minute)
			tr.add("handler ends")
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
		r.UseClose(func(*router.Context) { tr.add("close") })
		r.Bind("/quick", func(ctx *router.Context) {
			time.Sleep(time.Millisecond)
			tr.add("quick %v", ctx.Err())
			_ = ctx.Send("done")
		})
		r.Bind("/asks", func(ctx *router.Context) {
			_, err := ctx.Request("?")
			tr.add("asks: %v", err)
		})
		r.Bind("/subscribes", func(ctx *router.Context) {
			<-ctx.Done()
			tr.add("subscription ends")
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

// TestEndFinishThenCancel: a drain that takes too long can be cut short.
func TestEndFinishThenCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{TurnTimeout: -1})
		r.UseClose(func(ctx *router.Context) {
			status, reason, source := ctx.CloseStatus()
			tr.add("%d %s %d", status, reason, source)
		})
		r.Bind("/a", func(ctx *router.Context) { <-ctx.Done(); tr.add("cancelled") })
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

// TestGoexit: a handler that ends its goroutine, as t.FailNow does, ends no socket.
func TestGoexit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		r.Bind("/exit", func(*router.Context) { runtime.Goexit() })
		r.Bind("/a", echo)
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/exit", "", nil), msg("/a", "1", 5))
		c.hears(`{"id":"1","data":5}`)
		c.hangUp()

		r.UseOpen(func(*router.Context) { runtime.Goexit() })
		r.UseClose(func(*router.Context) { runtime.Goexit() })
		c = connect(t, r, router.SocketInfo{})
		c.say(msg("/a", "1", 5))
		c.hears(`{"id":"1","data":5}`)
		c.hangUp()
	})
}

func TestPanicIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		panics := 0
		r := newRouter(t, router.Config{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Hooks:  router.Hooks{Panicked: func() { panics++ }},
		})
		r.Bind("/panic", func(*router.Context) { panic("one reason") })
		r.Bind("/error", func(ctx *router.Context) { ctx.Error = errors.New("another reason") })
		r.Bind("/coded", func(ctx *router.Context) { ctx.Error = router.NewError("x", "not logged") })
		c := connect(t, r, router.SocketInfo{ID: "sock"})
		c.say(msg("/panic", "", nil), msg("/error", "", nil), msg("/coded", "", nil))
		c.hangUp()
		text := log.String()
		for reason, times := range map[string]int{"one reason": 1, "another reason": 1, "not logged": 0, "socket=sock": 2, "lifecycle_test.go": 1, "panic.go": 0} {
			if n := strings.Count(text, reason); n != times {
				t.Errorf("the log has %q %d times, want %d:\n%s", reason, n, times, text)
			}
		}
		if panics != 1 {
			t.Errorf("%d panics counted", panics)
		}
	})
}

func TestSocketInfo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		r.Bind("/a", func(ctx *router.Context) {
			_ = ctx.Send(strings.Join([]string{
				ctx.SocketID(), ctx.RemoteAddr(), ctx.Headers().Get("X-A"), ctx.Headers().Get("Sec-WebSocket-Protocol"),
				ctx.Query().Get("q"), ctx.Subprotocol(), ctx.Gateway(), ctx.Instance(), fmt.Sprint(ctx.MessageType()),
			}, "|"))
		})
		c := connect(t, r, router.SocketInfo{
			ID: "s1", RemoteAddr: "1.2.3.4:5", Subprotocol: "velaros-json", Gateway: "public", Instance: "i1",
			Headers: http.Header{"X-A": {"a"}, "Sec-Websocket-Protocol": {"velaros-json, other"}}, Query: url.Values{"q": {"v"}},
		})
		c.say(msg("/a", "", nil))
		c.hears(`{"data":{"message":"s1|1.2.3.4:5|a|velaros-json|v|velaros-json|public|i1|1"}}`)
		c.hangUp()

		seen := map[string]bool{}
		r = newRouter(t, router.Config{})
		r.UseOpen(func(ctx *router.Context) { seen[ctx.SocketID()] = ctx.Headers() != nil })
		for range 2 {
			c := connect(t, r, router.SocketInfo{})
			c.hangUp()
		}
		if len(seen) != 2 || seen[""] {
			t.Errorf("generated ids: %v", seen)
		}
	})
}

func TestConsumed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		hold := make(chan struct{})
		r.Bind("/a", func(*router.Context) { <-hold })
		c := connect(t, r, router.SocketInfo{})
		m := msg("/a", "", nil)
		c.say(m, m, m)
		if c.conn.consumed != len(m) {
			t.Errorf("%d bytes consumed, want those of the message at work, %d", c.conn.consumed, len(m))
		}
		close(hold)
		synctest.Wait()
		if c.conn.consumed != 3*len(m) {
			t.Errorf("%d bytes consumed, want %d", c.conn.consumed, 3*len(m))
		}
		c.hangUp()
	})
}

func TestConfigIsChecked(t *testing.T) {
	_, err := router.New(router.Config{PingTimeout: -1, Origins: []string{""}})
	if err == nil || !strings.Contains(err.Error(), "PingTimeout") || !strings.Contains(err.Error(), "Origins") {
		t.Errorf("error %v, want both fields named", err)
	}
}
