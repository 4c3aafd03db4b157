package json_test

import (
	"context"
	stdjson "encoding/json"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
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
func exchange(t *testing.T, handler func(*router.Context), message string) []string {
	t.Helper()
	r, err := router.New(router.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Use(json.Middleware())
	r.Use(handler)
	c := conn{make(chan string, 100)}
	s := r.ServeSocket(router.SocketInfo{}, c)
	s.Deliver(router.MessageText, []byte(message))
	s.End(1000, "", router.ClientCloseSource, true)
	<-s.Done()
	close(c.sent)
	var out []string
	for m := range c.sent {
		out = append(out, m)
	}
	return out
}

func TestSend(t *testing.T) {
	tests := []struct {
		name string
		data any
		want string
	}{
		{"struct", struct {
			A int `json:"a"`
		}{1}, `{"id":"7","data":{"a":1}}`},
		{"M", json.M{"b": 2, "a": []int{1}}, `{"id":"7","data":{"a":[1],"b":2}}`},
		{"string", `say "hi" <b>`, `{"id":"7","data":{"message":"say \"hi\" \u003cb\u003e"}}`},
		{"number", 1.5, `{"id":"7","data":1.5}`},
		{"nil", nil, `{"id":"7"}`},
		{"nil pointer", (*int)(nil), `{"id":"7","data":null}`},
		{"bytes are base64, as in encoding/json", []byte("hello"), `{"id":"7","data":"aGVsbG8="}`},
		{"RawMessage", stdjson.RawMessage(`{"raw": [1, 2]}`), `{"id":"7","data":{"raw": [1, 2]}}`},
		{"nil RawMessage", stdjson.RawMessage(nil), `{"id":"7","data":null}`},
		{"Raw", router.Raw(`true`), `{"id":"7","data":true}`},
		{"empty Raw", router.Raw{}, `{"id":"7"}`},
		{"Error", json.Error("went wrong"), `{"id":"7","data":{"error":"went wrong"}}`},
		{"FieldError", json.FieldError{Field: "email", Error: "is taken"}, `{"id":"7","data":{"error":"Validation error","fields":[{"email":"is taken"}]}}`},
		{"FieldErrors", []json.FieldError{{"a", "x"}, {"b", "y"}}, `{"id":"7","data":{"error":"Validation error","fields":[{"a":"x"},{"b":"y"}]}}`},
		{"error with a code", router.NewError("rate_limited", "slower"), `{"id":"7","data":{"error":"slower","code":"rate_limited"}}`},
	}
	for _, tt := range tests {
		got := exchange(t, func(ctx *router.Context) {
			if err := ctx.Send(tt.data); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}, `{"path":"/a","id":"7"}`)
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: sent %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := exchange(t, func(ctx *router.Context) {
		for _, data := range []any{func() {}, stdjson.RawMessage(`{`)} {
			if ctx.Send(data) == nil {
				t.Errorf("%T was sent", data)
			}
		}
		_ = ctx.Send("still fine")
	}, `{"path":"/a"}`); len(got) != 1 || got[0] != `{"data":{"message":"still fine"}}` {
		t.Errorf("sent %q", got)
	}
}

func TestReceive(t *testing.T) {
	exchange(t, func(ctx *router.Context) {
		var in struct {
			UserID int `json:"user_id"`
		}
		if err := ctx.Unmarshal(&in); err != nil || in.UserID != 42 {
			t.Errorf("data %+v, %v", in, err)
		}
		trace, ok := ctx.Meta("trace")
		list, _ := ctx.Meta("list")
		if _, none := ctx.Meta("none"); none || !ok || trace != "x" || list.([]any)[0] != 1.0 {
			t.Errorf("meta %v %v %v", trace, list, ok)
		}
		if ctx.Path() != "/users/get" || ctx.MessageID() != "msg-1" || string(ctx.Data()) != `{"user_id": 42}` {
			t.Errorf("path %q, id %q, data %s", ctx.Path(), ctx.MessageID(), ctx.Data())
		}
		var wrong []int
		if ctx.Unmarshal(&wrong) == nil {
			t.Error("an object became a slice")
		}
	}, `{"meta":{"trace":"x","list":[1]}, "data":{"user_id": 42}, "path":"\/users\/get", "id":"msg-1", "other":null}`)
	exchange(t, func(ctx *router.Context) {
		if _, ok := ctx.Meta("x"); ok || ctx.Unmarshal(new(any)) == nil {
			t.Error("there is something where nothing was sent")
		}
	}, `{"path":"/a"}`)
}

// TestOther: what is no JSON is left to other middleware on a socket without a
// subprotocol.
func TestOther(t *testing.T) {
	got := exchange(t, func(ctx *router.Context) {
		ctx.SetMessageMarshaller(func(m *router.OutboundMessage) ([]byte, error) { return m.Data.([]byte), nil })
		_ = ctx.Send(ctx.RawData())
	}, "plain text")
	if len(got) != 1 || got[0] != "plain text" {
		t.Errorf("sent %q", got)
	}
}

func FuzzSend(f *testing.F) {
	f.Add("7", "text")
	f.Add("\"\\\x00", "é\u2028\xff")
	f.Fuzz(func(t *testing.T, id, text string) {
		message, err := stdjson.Marshal(map[string]string{"path": "/a", "id": id})
		if err != nil || len(id) > 100 {
			return
		}
		got := exchange(t, func(ctx *router.Context) { _ = ctx.Send(text) }, string(message))
		var out struct {
			ID   string            `json:"id"`
			Data map[string]string `json:"data"`
		}
		if len(got) != 1 || stdjson.Unmarshal([]byte(got[0]), &out) != nil {
			t.Fatalf("sent %q", got)
		}
		var in struct{ ID, Text string }
		b, _ := stdjson.Marshal(map[string]string{"ID": id, "Text": text})
		if err := stdjson.Unmarshal(b, &in); err != nil || out.ID != in.ID || out.Data["message"] != in.Text {
			t.Fatalf("sent %q for id %q and text %q", got, id, text)
		}
	})
}
