package router_test

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
)

// TestNoMiddleware: sending and decoding say what is missing.
func TestNoMiddleware(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r, err := router.New(router.Config{Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		r.UseOpen(func(ctx *router.Context) { tr.addf("%v", ctx.Send("x")) })
		r.Use(func(ctx *router.Context) { tr.addf("%v", ctx.Unmarshal(new(int))) })
		c := connect(t, r, router.SocketInfo{})
		c.say("{}")
		if len(tr.lines) != 2 || !strings.Contains(tr.lines[0], "SetMessageMarshaller") || !strings.Contains(tr.lines[1], "SetMessageUnmarshaler") {
			t.Errorf("happened: %q", tr.lines)
		}
		c.hangUp()
	})
}

// TestContextFreed keeps contexts and uses them when their handler has returned, also
// while others are at work on the same socket.
func TestContextFreed(t *testing.T) {
	r := newRouter(t, router.Config{})
	kept := make(chan *router.Context, 1000)
	sub := router.NewRouter()
	sub.Bind("/keep", func(ctx *router.Context) { kept <- ctx })
	r.Use("/", func(ctx *router.Context) { kept <- ctx; ctx.Next() })
	r.Use(sub)
	r.Bind("/work", func(ctx *router.Context) {
		ctx.Set("k", "work")
		_ = ctx.Send("work")
	})
	c := &conn{}
	c.handler = r.ServeSocket(router.SocketInfo{}, c)
	for range 200 {
		c.handler.Deliver(router.MessageText, []byte(msg("/keep", "1", "secret")))
		c.handler.Deliver(router.MessageText, []byte(msg("/work", "2", "secret")))
		ctx := <-kept
		valid := func() bool { return ctx.SocketID() != "" }
		for valid() { // the handler may be about to return
			_ = ctx.Send("early")
			ctx.Set("k", "v")
		}
		var into any
		_, err1 := ctx.Receive()
		_, err2 := ctx.Request(1)
		for i, err := range []error{ctx.Send(1), ctx.Reply(1), err1, err2, ctx.ReceiveInto(&into), ctx.RequestInto(1, &into), ctx.Unmarshal(&into)} {
			if !errors.Is(err, router.ErrContextFreed) && !errors.Is(err, context.Canceled) {
				t.Fatalf("call %d after the handler: %v", i, err)
			}
		}
		ctx.Next()
		ctx.SetMessageID("x")
		ctx.SetMessagePath("/work")
		ctx.SetOnSocket("a", "b")
		ctx.DeleteFromSocket("a")
		ctx.Delete("k")
		ctx.Close()
		_, set := ctx.Get("k")
		_, onSocket := ctx.GetFromSocket("a")
		_, meta := ctx.Meta("m")
		status, _, _ := ctx.CloseStatus()
		<-ctx.Done()
		if set || onSocket || meta || status != 0 || ctx.Err() == nil || ctx.Path() != "" || ctx.MessageID() != "" || ctx.Data() != nil ||
			ctx.RawData() != nil || len(ctx.Params()) != 0 || ctx.Headers() != nil || ctx.Value("x") != nil || ctx.RemoteAddr()+ctx.Gateway()+ctx.Instance() != "" {
			t.Fatal("a context told something after its handler had returned")
		}
	}
	c.handler.End(1000, "", router.ClientCloseSource, false)
	<-c.handler.Done()
	if len(c.closings()) != 0 {
		t.Error("a context closed the socket after its handler had returned")
	}
}

func TestContextEndsWithItsHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		derived := make(chan context.Context, 1)
		r.Bind("/a", func(ctx *router.Context) {
			if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
				t.Error("a fresh context is not fresh")
			}
			child, cancel := context.WithCancel(ctx)
			_ = cancel
			derived <- child
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/a", "", nil))
		if (<-derived).Err() == nil {
			t.Error("a derived context outlived the handler")
		}
		c.hangUp()
	})
}

func TestValues(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		r.Bind("/set", func(ctx *router.Context) {
			ctx.Set("k", 1)
			ctx.SetOnSocket("k", 2)
			if ctx.MustGet("k") != 1 || ctx.MustGetFromSocket("k") != 2 {
				t.Error("a value is not there")
			}
		})
		r.Bind("/get", func(ctx *router.Context) {
			_, message := ctx.Get("k")
			v, _ := ctx.GetFromSocket("k")
			ctx.DeleteFromSocket("k")
			_, still := ctx.GetFromSocket("k")
			_ = ctx.Send(fmt.Sprint(message, v, still))
		})
		r.Bind("/must", func(ctx *router.Context) { ctx.MustGet("k") })
		r.Bind("/mustsocket", func(ctx *router.Context) { ctx.MustGetFromSocket("k") })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/set", "", nil), msg("/get", "", nil), msg("/must", "1", nil), msg("/mustsocket", "1", nil))
		c.hears(`{"data":{"message":"false 2 false"}}`, answers["internal"], answers["internal"])
		c.hangUp()
	})
}

func TestMessageAccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		raw := `{"path":"/u/5","id":"1","data":{"a":1},"meta":{"m":[1,2]}}`
		r.Bind("/u/:id", func(ctx *router.Context) {
			params := ctx.Params()
			params["id"] += "!" // the map is ours
			m, ok := ctx.Meta("m")
			_, no := ctx.Meta("n")
			tr.addf("%s %s %s %s %s %v %v %v", ctx.Path(), ctx.MessageID(), ctx.Data(), params.Get("ID"), ctx.Params().Get("id"), m, ok, no)
			if string(ctx.RawData()) != raw {
				tr.addf("raw %s", ctx.RawData())
			}
		})
		r.Bind("/noid", func(ctx *router.Context) {
			_ = ctx.Send("before")
			id := ctx.MessageID()
			_ = ctx.Send("after")
			tr.addf("%v %v", len(id) > 16, id == ctx.MessageID())
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(raw, msg("/noid", "", nil))
		tr.is(t, `/u/5 1 {"a":1} 5! 5 [1 2] true false`, "true true")
		sent := c.heard()
		if sent[0] != `{"data":{"message":"before"}}` || !strings.HasPrefix(sent[1], `{"id":"`) {
			t.Errorf("sent %q", sent)
		}
		c.hangUp()
	})
}

// TestUndecodable: the client is told what is wrong with its message, in its encoding.
func TestUndecodable(t *testing.T) {
	tests := []struct{ subprotocol, in, want string }{
		{"", `{"id":"1"`, "bad_message"},
		{"velaros-json", `{"id":"1"`, "bad_message"},
		{"velaros-json", `{"id":"1","path":5}`, "bad_message"},
		{"", `{"id":"1","Path":"/a"}`, "bad_message"},
		{"", `[]`, "bad_message"},
		{"", `{}`, "no_path"},
		{"", `{"id":"1"}`, "no_path"},
		{"velaros-nonsense", `{"id":"1","path":"/a"}`, "bad_message"},
		{"velaros-msgpack", "\x82\xa2id\xa11\xa4path\xa2/a", "bad_message"}, // no middleware
		{"velaros-protobuf", "\x0a\x011\x12\x02/a", "bad_message"},
	}
	for _, tt := range tests {
		bubble(t, func(t *testing.T) {
			r := newRouter(t, router.Config{})
			r.Bind("/a", echo)
			c := connect(t, r, router.SocketInfo{Subprotocol: tt.subprotocol})
			c.say(tt.in)
			sent := c.heard()
			if len(sent) != 1 || !strings.Contains(sent[0], tt.want) {
				t.Errorf("%s %q: sent %q, want %s", tt.subprotocol, tt.in, sent, tt.want)
			}
			e, _ := envelope.FromSubprotocol(tt.subprotocol)
			head, err := e.Peek([]byte(sent[0]))
			if err != nil || string(head.ID) != "1" && strings.Contains(tt.in, "1") && tt.want != "bad_message" {
				t.Errorf("%s: answer %q: %v", tt.subprotocol, sent[0], err)
			}
			if e == envelope.JSON && !stdjson.Valid([]byte(sent[0])) {
				t.Errorf("answer %q", sent[0])
			}
			c.hangUp()
		})
	}
	bubble(t, func(t *testing.T) { // text that is none closes the connection
		r := newRouter(t, router.Config{})
		c := connect(t, r, router.SocketInfo{})
		c.say("{\"path\":\"\xff\"}")
		<-c.Done()
		if s := c.conn.closings(); len(s) != 1 || s[0].status != router.StatusInvalidFramePayloadData {
			t.Errorf("closed %v", s)
		}
	})
}
