package msgpack_test

import (
	"context"
	"log/slog"
	"reflect"
	"testing"

	vmsgpack "github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// conn collects what is sent.
type conn struct{ sent chan []byte }

func (c conn) Send(_ context.Context, m router.Outgoing) error {
	c.sent <- append([]byte(nil), m.Data...)
	return nil
}
func (conn) Close(router.Status, string) {}
func (conn) Consumed(int)                {}

// exchange sends one message to a router and returns what it answers, decoded.
func exchange(t *testing.T, handler func(*router.Context), message map[string]any) []map[string]any {
	t.Helper()
	r, err := router.New(router.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Use(msgpack.Middleware())
	r.Use(handler)
	c := conn{make(chan []byte, 100)}
	s := r.ServeSocket(router.SocketInfo{Subprotocol: "velaros-msgpack"}, c)
	b, err := vmsgpack.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	s.Deliver(router.MessageBinary, b)
	s.End(1000, "", router.ClientCloseSource, true)
	<-s.Done()
	close(c.sent)
	var out []map[string]any
	for b := range c.sent {
		var m map[string]any
		if err := vmsgpack.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

type m = map[string]any

func TestSend(t *testing.T) {
	raw, _ := vmsgpack.Marshal(m{"raw": true})
	fields := func(pairs ...string) (list []any) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, m{pairs[i]: pairs[i+1]})
		}
		return list
	}
	tests := []struct {
		name string
		data any
		want m
	}{
		{"struct", struct {
			A string `msgpack:"a"`
		}{"x"}, m{"id": "7", "data": m{"a": "x"}}},
		{"M", msgpack.M{"a": "x"}, m{"id": "7", "data": m{"a": "x"}}},
		{"string", "hi", m{"id": "7", "data": m{"message": "hi"}}},
		{"bytes", []byte{1, 2}, m{"id": "7", "data": []byte{1, 2}}},
		{"nil", nil, m{"id": "7"}},
		{"Raw", router.Raw(raw), m{"id": "7", "data": m{"raw": true}}},
		{"empty Raw", router.Raw{}, m{"id": "7"}},
		{"Error", msgpack.Error("wrong"), m{"id": "7", "data": m{"error": "wrong"}}},
		{"FieldError", msgpack.FieldError{Field: "a", Error: "x"}, m{"id": "7", "data": m{"error": "Validation error", "fields": fields("a", "x")}}},
		{"FieldErrors", []msgpack.FieldError{{"a", "x"}, {"b", "y"}}, m{"id": "7", "data": m{"error": "Validation error", "fields": fields("a", "x", "b", "y")}}},
		{"error with a code", router.NewError("rate_limited", "slower"), m{"id": "7", "data": m{"error": "slower", "code": "rate_limited"}}},
	}
	for _, tt := range tests {
		got := exchange(t, func(ctx *router.Context) {
			if err := ctx.Send(tt.data); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}, m{"path": "/a", "id": "7"})
		if len(got) != 1 || !reflect.DeepEqual(got[0], tt.want) {
			t.Errorf("%s: sent %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := exchange(t, func(ctx *router.Context) {
		if ctx.Send(make(chan int)) == nil {
			t.Error("a channel was sent")
		}
		_ = ctx.Send("still fine")
	}, m{"path": "/a"}); len(got) != 1 || !reflect.DeepEqual(got[0], m{"data": m{"message": "still fine"}}) {
		t.Errorf("sent %v", got)
	}
}

func TestReceive(t *testing.T) {
	exchange(t, func(ctx *router.Context) {
		var in struct {
			UserID int `msgpack:"user_id"`
		}
		if err := ctx.Unmarshal(&in); err != nil || in.UserID != 42 {
			t.Errorf("data %+v, %v", in, err)
		}
		trace, ok := ctx.Meta("trace")
		if _, none := ctx.Meta("none"); none || !ok || trace != "x" {
			t.Errorf("meta %v %v", trace, ok)
		}
		if ctx.Path() != "/users/get" || ctx.MessageID() != "msg-1" || ctx.MessageType() != router.MessageBinary {
			t.Errorf("path %q, id %q, type %v", ctx.Path(), ctx.MessageID(), ctx.MessageType())
		}
	}, m{"path": "/users/get", "id": "msg-1", "data": m{"user_id": 42}, "meta": m{"trace": "x"}})
}
