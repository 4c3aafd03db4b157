package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
)

func TestReceive(t *testing.T) {
	tests := []struct {
		name    string
		handler func(ctx *router.Context, tr *trace)
		in      []string // messages, said one by one
		want    []string
		sent    []string
	}{
		{
			"the message itself comes first, then those with its id, with or without a path",
			func(ctx *router.Context, tr *trace) {
				for range 3 {
					data, err := ctx.Receive()
					tr.addf("%s %v", data, err)
				}
			},
			[]string{msg("/c", "1", "a"), msg("/c", "1", "b"), msg("", "1", "c")},
			[]string{`"a" <nil>`, `"b" <nil>`, `"c" <nil>`}, nil,
		},
		{
			"messages without data are passed over, the first one too",
			func(ctx *router.Context, tr *trace) {
				for range 2 {
					var s string
					err := ctx.ReceiveInto(&s)
					tr.addf("%s %v", s, err)
				}
			},
			[]string{msg("/c", "1", nil), msg("/c", "1", nil), msg("/c", "1", "a"), msg("", "1", nil), msg("", "1", "b")},
			[]string{"a <nil>", "b <nil>"}, nil,
		},
		{
			"Unmarshal counts as receiving the message",
			func(ctx *router.Context, tr *trace) {
				var a, b string
				tr.addf("%v %v", ctx.Unmarshal(&a), ctx.Unmarshal(&b))
				data, _ := ctx.Receive()
				tr.addf("%s, %s, %s", a, b, data)
			},
			[]string{msg("/c", "1", "a"), msg("/c", "1", "b")},
			[]string{"<nil> <nil>", `a, a, "b"`}, nil,
		},
		{
			"without an id there is nothing to receive",
			func(ctx *router.Context, tr *trace) {
				data, err := ctx.Receive()
				tr.addf("%s %v", data, err)
				_, err = ctx.Receive()
				tr.addf("%v", errors.Is(err, router.ErrNoMessageID))
			},
			[]string{msg("/c", "", "a")},
			[]string{`"a" <nil>`, "true"}, nil,
		},
		{
			"a request has the id of the message",
			func(ctx *router.Context, tr *trace) {
				answer, err := ctx.Request("sure?")
				tr.addf("%s %v", answer, err)
				var s string
				tr.addf("%v %s", ctx.RequestInto("really?", &s), s)
				tr.addf("%v", ctx.Reply("done"))
			},
			[]string{msg("/c", "1", "a"), msg("", "1", "yes"), msg("/c", "1", "yes!")},
			[]string{`"yes" <nil>`, "<nil> yes!", "<nil>"},
			[]string{`{"id":"1","data":{"message":"sure?"}}`, `{"id":"1","data":{"message":"really?"}}`, `{"id":"1","data":{"message":"done"}}`},
		},
		{
			"messages that came before the handler waited are not lost",
			func(ctx *router.Context, tr *trace) {
				time.Sleep(time.Millisecond)
				for range 3 {
					data, _ := ctx.Receive()
					tr.addf("%s", data)
				}
			},
			[]string{msg("/c", "1", "a") + "\n" + msg("/other", "2", nil) + "\n" + msg("/c", "1", "b") + "\n" + msg("", "1", "c")},
			[]string{`"a"`, `"b"`, `"c"`, "other"}, nil,
		},
		{
			"the same id with another path is a message of its own",
			func(ctx *router.Context, tr *trace) {
				answer, _ := ctx.Request("?")
				tr.addf("%s", answer)
			},
			[]string{msg("/c", "1", "a"), msg("/other", "1", "b"), msg("/c", "1", "c")},
			[]string{"other", `"c"`},
			[]string{`{"id":"1","data":{"message":"?"}}`},
		},
		{
			"what is left when the handler returns is handled anew",
			func(ctx *router.Context, tr *trace) {
				data, _ := ctx.Receive()
				tr.addf("start %s", data)
				if string(data) == `"a"` {
					_, _ = ctx.Receive()
					time.Sleep(time.Millisecond)
				}
				tr.addf("end %s", data)
			},
			[]string{msg("/c", "1", "a"), msg("/c", "1", "b") + "\n" + msg("/c", "1", "c") + "\n" + msg("", "1", "d")},
			[]string{`start "a"`, `end "a"`, `start "c"`, `end "c"`},
			[]string{`{"id":"1","data":{"error":"the message has no path and no handler waits for its id","code":"no_path"}}`},
		},
		{
			"a wait can have a limit",
			func(ctx *router.Context, tr *trace) {
				_, err := ctx.RequestWithTimeout("?", time.Second)
				tr.addf("%v %v", errors.Is(err, context.DeadlineExceeded), err)
				limit, cancel := context.WithCancel(context.Background())
				cancel()
				_, err = ctx.ReceiveWithContext(limit)
				tr.addf("%v %v", errors.Is(err, context.Canceled), err)
				var s string
				tr.addf("%v", ctx.ReceiveIntoWithTimeout(&s, time.Second) != nil && ctx.RequestIntoWithTimeout("?", &s, time.Second) != nil)
				data, err := ctx.ReceiveWithTimeout(time.Hour)
				tr.addf("%s %v", data, err)
			},
			[]string{msg("/c", "1", "a"), "sleep", msg("", "1", "late")},
			[]string{"true receive: context deadline exceeded", "true receive: context canceled", "true", `"late" <nil>`},
			[]string{`{"id":"1","data":{"message":"?"}}`, `{"id":"1","data":{"message":"?"}}`},
		},
		{
			"data that does not fit is an error",
			func(ctx *router.Context, tr *trace) {
				var n int
				tr.addf("%v", ctx.RequestInto("?", &n) != nil && ctx.Unmarshal(&n) != nil)
			},
			[]string{msg("/c", "1", "a"), msg("", "1", "b")},
			[]string{"true"}, []string{`{"id":"1","data":{"message":"?"}}`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var tr trace
				r := newRouter(t, router.Config{})
				r.Bind("/c", func(ctx *router.Context) { tt.handler(ctx, &tr) })
				r.Bind("/other", func(*router.Context) { tr.addf("other") })
				c := connect(t, r, router.SocketInfo{})
				for _, in := range tt.in {
					if in == "sleep" {
						time.Sleep(time.Minute)
						continue
					}
					c.say(strings.Split(in, "\n")...)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				tr.is(t, tt.want...)
				c.hears(tt.sent...)
				c.hangUp()
			})
		})
	}
}

// TestRequestMakesAnID: the id is on what is sent from then on, and the transport is
// told to expect it.
func TestRequestMakesAnID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.Bind("/c", func(ctx *router.Context) {
			_ = ctx.Send("no id")
			answer, err := ctx.Request("?")
			tr.addf("%s %v", answer, err)
			_ = ctx.Send("id")
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/c", "", nil))
		c.conn.mu.Lock()
		sent := c.conn.sent
		c.conn.mu.Unlock()
		if len(sent) != 2 || sent[0].ID != "" || len(sent[1].ID) < 16 {
			t.Fatalf("sent %+v", sent)
		}
		id := sent[1].ID
		c.say(msg("", id, "answer"))
		tr.is(t, `"answer" <nil>`)
		c.hears(`{"data":{"message":"no id"}}`, `{"id":"`+id+`","data":{"message":"?"}}`, `{"id":"`+id+`","data":{"message":"id"}}`)
		c.hangUp()
	})
}

// TestIDsForTheGateway: the transport is told which ids a handler may wait for.
func TestIDsForTheGateway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		r.Bind("/plain", func(ctx *router.Context) { _ = ctx.Send("x") })
		r.Bind("/asks", func(ctx *router.Context) {
			_ = ctx.Send("x")
			_, _ = ctx.Request("x")
			_ = ctx.Send("x")
		})
		r.Bind("/makes", func(ctx *router.Context) {
			ctx.MessageID()
			_ = ctx.Send("x")
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/plain", "1", nil), msg("/plain", "", nil), msg("/asks", "2", nil), msg("", "2", "y"), msg("/makes", "", nil))
		c.hangUp()
		var ids []string
		for _, m := range c.conn.sent {
			ids = append(ids, m.ID)
		}
		if len(ids) != 6 || len(ids[5]) < 16 || strings.Join(ids[:5], ",") != ",,,2,2" {
			t.Errorf("ids %q", ids)
		}
	})
}

// TestMiddlewareSeesAnswers: further messages pass the middleware before the handler,
// in mounted routers too, and what that refuses does not arrive.
func TestMiddlewareSeesAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.Use("/m", func(ctx *router.Context) {
			v, _ := ctx.Meta("user")
			tr.addf("auth %v %s", v, ctx.Path())
			switch string(ctx.Data()) {
			case `"refused"`:
				ctx.Error = router.NewError("unauthorized", "no")
			case `"rewritten"`:
				ctx.SetMessageData([]byte(`"other"`))
			}
			ctx.Next()
			tr.addf("auth ends")
		})
		sub := router.NewRouter()
		sub.Bind("/c", note("before"), func(ctx *router.Context) {
			for range 3 {
				data, err := ctx.Receive()
				tr.addf("%s %v", data, err)
			}
		})
		r.Use("/m", sub)
		c := connect(t, r, router.SocketInfo{Public: false})
		c.say(`{"path":"/m/c","id":"1","data":"a","meta":{"user":"ada"}}`)
		c.say(`{"id":"1","data":"refused"}`, `{"id":"1","data":"rewritten","meta":{"user":"eve"}}`, msg("/m/c", "1", "c"))
		tr.is(t, "auth ada /m/c", `"a" <nil>`, "auth <nil> /m/c", "auth ends", "auth eve /m/c", "auth ends", `"other" <nil>`,
			"auth <nil> /m/c", "auth ends", `"c" <nil>`, "auth ends")
		c.hears(`{"id":"1","data":"before"}`, `{"id":"1","data":{"error":"no","code":"unauthorized"}}`, `{"id":"1","data":"before"}`, `{"id":"1","data":"before"}`)
		c.hangUp()
	})
}

// TestAnswersNeedNoTurn: a handler that blocks the socket's turn because it waits for
// another one that waits for the client holds neither up.
func TestAnswersNeedNoTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{TurnTimeout: -1})
		answered := make(chan struct{})
		r.Bind("/asks", func(ctx *router.Context) {
			answer, _ := ctx.Request("?")
			tr.addf("%s", answer)
			close(answered)
		})
		r.Bind("/waits", func(*router.Context) { <-answered; tr.addf("went on") })
		c := connect(t, r, router.SocketInfo{})
		start := time.Now()
		c.say(msg("/asks", "1", nil), msg("/waits", "2", nil), msg("", "1", "a"))
		tr.is(t, `"a"`, "went on")
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		c.hangUp()
	})
}

// TestCustomEncoding: without an envelope that can be peeked into, answers are found
// by the id that the user's own middleware sets.
func TestCustomEncoding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r, err := router.New(router.Config{Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		r.Use(func(ctx *router.Context) { // id path data
			parts := strings.SplitN(string(ctx.RawData()), " ", 3)
			ctx.SetMessageID(parts[0])
			ctx.SetMessagePath(parts[1])
			ctx.SetMessageRawData(ctx.RawData())
			ctx.SetMessageData([]byte(parts[2]))
			ctx.SetMessageMeta(map[string]any{"n": len(parts)})
			ctx.SetMessageMarshaller(func(m *router.OutboundMessage) ([]byte, error) {
				return fmt.Appendf(nil, "%s %v", m.ID, m.Data), nil
			})
			ctx.SetMessageUnmarshaler(func(m *router.InboundMessage, into any) error {
				*into.(*string) = string(m.Data)
				return nil
			})
			ctx.Next()
		})
		r.Bind("/c", func(ctx *router.Context) {
			n, _ := ctx.Meta("n")
			tr.addf("%v", n)
			var s string
			for range 2 {
				if err := ctx.ReceiveInto(&s); err != nil {
					tr.addf("%v", err)
				}
				_ = ctx.Send("got " + s)
			}
		})
		c := connect(t, r, router.SocketInfo{Subprotocol: ""})
		c.say("1 /c a", "2 /c b", "1 /c c").say("2 /c d")
		c.hears("1 got a", "2 got b", "1 got c", "2 got d")
		tr.is(t, "3", "3")
		c.hangUp()
	})
}
