package protobuf_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// conn collects what is sent.
type conn struct{ sent chan string }

func (c conn) Send(_ context.Context, m router.Outgoing) error {
	c.sent <- string(m.Data)
	return nil
}
func (conn) Close(router.Status, string) {}
func (conn) Consumed(int)                {}

// exchange sends one message to a router and returns what it answers.
func exchange(t *testing.T, handler func(*router.Context), message []byte) []string {
	t.Helper()
	r, err := router.New(router.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Use(protobuf.Middleware())
	r.Use(handler)
	c := conn{make(chan string, 100)}
	s := r.ServeSocket(router.SocketInfo{Subprotocol: "velaros-protobuf"}, c)
	s.Deliver(router.MessageBinary, message)
	s.End(1000, "", router.ClientCloseSource, true)
	<-s.Done()
	close(c.sent)
	var out []string
	for m := range c.sent {
		out = append(out, m)
	}
	return out
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSend(t *testing.T) {
	data := marshal(t, wrapperspb.String("hi"))
	message := func(data []byte) string {
		return string(envelope.Protobuf.AppendMessage(nil, envelope.Message{ID: "7", Data: data}))
	}
	failure := func(code wire.ErrorCode, text string, fields ...envelope.FieldError) string {
		return string(envelope.Protobuf.AppendError(nil, "7", envelope.Failure{Code: code, Message: text, Fields: fields}))
	}
	tests := []struct {
		name string
		data any
		want string
	}{
		{"message", wrapperspb.String("hi"), message(data)},
		{"empty message", wrapperspb.String(""), message([]byte{})},
		{"Raw", router.Raw(data), message(data)},
		{"nil", nil, message(nil)},
		{"Error", protobuf.Error("wrong"), failure("", "wrong")},
		{"FieldError", protobuf.FieldError{Field: "a", Error: "x"}, failure("validation", "Validation error", envelope.FieldError{Field: "a", Error: "x"})},
		{"FieldErrors", []protobuf.FieldError{{Field: "a", Error: "x"}}, failure("validation", "Validation error", envelope.FieldError{Field: "a", Error: "x"})},
		{"error with a code", router.NewError("rate_limited", "slower"), failure("rate_limited", "slower")},
	}
	for _, tt := range tests {
		got := exchange(t, func(ctx *router.Context) {
			if err := ctx.Send(tt.data); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}, []byte("\x0a\x017\x12\x02/a"))
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: sent %q, want %q", tt.name, got, tt.want)
		}
	}
	exchange(t, func(ctx *router.Context) {
		if ctx.Send("text") == nil || ctx.Send(map[string]any{}) == nil || ctx.Send(wrapperspb.String("\xff")) == nil {
			t.Error("what is no Protobuf message was sent")
		}
		_ = ctx.Send(nil)
	}, []byte("\x12\x02/a"))
}

func TestReceive(t *testing.T) {
	entry := func(key string, value string) []byte {
		e := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
		e = protowire.AppendString(protowire.AppendTag(e, 2, protowire.BytesType), value)
		return protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), e)
	}
	meta := append(entry("user", `"ada"`), entry("list", `[1]`)...)
	meta = append(meta, entry("raw", "not json")...)
	message := envelope.Protobuf.AppendMessage(nil, envelope.Message{
		ID: "msg-1", Path: "/users/get", Data: marshal(t, wrapperspb.Int64(42)), Meta: meta,
	})
	exchange(t, func(ctx *router.Context) {
		var in wrapperspb.Int64Value
		if err := ctx.Unmarshal(&in); err != nil || in.GetValue() != 42 {
			t.Errorf("data %v, %v", in.GetValue(), err)
		}
		if err := ctx.Unmarshal(new(map[string]any)); err == nil {
			t.Error("decoded into what is no Protobuf message")
		}
		user, _ := ctx.Meta("user")
		list, _ := ctx.Meta("list")
		raw, _ := ctx.Meta("raw")
		if _, none := ctx.Meta("none"); none || user != "ada" || list.([]any)[0] != 1.0 || string(raw.([]byte)) != "not json" {
			t.Errorf("meta %v %v %v", user, list, raw)
		}
		if ctx.Path() != "/users/get" || ctx.MessageID() != "msg-1" {
			t.Errorf("path %q, id %q", ctx.Path(), ctx.MessageID())
		}
	}, message)
}
