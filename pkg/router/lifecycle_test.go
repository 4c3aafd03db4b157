package router_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

// trace collects what happens, in the order in which it does.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (tr *trace) addf(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

func (tr *trace) is(t *testing.T, want ...string) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
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
				tr.addf("%s %d %s %d", name, status, reason, source)
				if next {
					ctx.Next()
					tr.addf("%s ends", name)
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
		r.Bind("/a", func(*router.Context) { tr.addf("message") })

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
			r.UseOpen(handler, func(*router.Context) { tr.addf("never") })
			r.UseClose(func(*router.Context) { tr.addf("closed") })
			r.Bind("/a", func(*router.Context) { tr.addf("message") })
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
			tr.addf("open %s %v", answer, err)
		})
		r.Bind("/a", func(*router.Context) { tr.addf("message") })
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
	for i := range 50 {
		finish := i%2 == 0
		bubble(t, func(t *testing.T) {
			var tr trace
			r := newRouter(t, router.Config{})
			r.UseOpen(func(*router.Context) { tr.addf("open") })
			r.UseClose(func(ctx *router.Context) { tr.addf("close %v", ctx.Err()) })
			r.Bind("/a", func(*router.Context) { tr.addf("message") })
			c := connect(t, r, router.SocketInfo{})
			c.Deliver(router.MessageText, []byte(msg("/a", "", nil)))
			c.End(router.StatusAbnormalClosure, "", router.ClientCloseSource, finish)
			<-c.Done()
			if len(tr.lines) == 3 || finish { // without finish the message may come too late
				tr.is(t, "open", "message", "close <nil>")
			} else {
				tr.is(t, "open", "close <nil>")
			}
		})
	}
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
