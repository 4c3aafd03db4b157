package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestRenew: a client renews its identity while it is connected. Its services learn
// of it, and the user stays the same.
func TestRenew(t *testing.T) {
	w := newWorld(t)
	renewals := make(chan bool, 20)
	s := w.gateway(Config{Authenticator: stub{}, Hooks: Hooks{Renewed: func(_ string, ok bool) { renewals <- ok }}})
	i := w.instance(w.node(), registry.Service{Name: "echo", Routes: routes("/echo", "/**")})
	s.routed("/echo")
	client := s.dial("boreas.stub.alice")
	client.put(message("/echo", "1", ""))
	p := receive(w, "the stream", i.opened)
	receive(w, "the message", p.data)

	renew := func(token string) {
		client.put(fmt.Sprintf(`{"path":"/$auth","id":"r","data":{"token":%q}}`, token))
	}
	renew("alice+60s")
	client.want(`{"id":"r","data":{"user":"alice","expires_in":60}}`)
	client.put(message("/echo", "2", ""))
	receive(w, "the second message", p.data)
	p.mu.Lock()
	if d := cmp.Diff([]wire.Kind{wire.KindData, wire.KindIdentity, wire.KindData}, p.kinds); d != "" {
		t.Errorf("frames: %s", d)
	}
	p.mu.Unlock()

	for token, code := range map[string]wire.ErrorCode{
		"mallory": wire.CodeUnauthorized,
		"bad":     wire.CodeUnauthorized,
		"":        wire.CodeValidation,
		"down":    wire.CodeUnavailable,
		"panic":   wire.CodeUnavailable,
		"huge":    wire.CodeUnauthorized,
		strings.Repeat("x", auth.MaxCredential+1): wire.CodeValidation,
	} {
		renew(token)
		client.wantError("r", code)
	}
	for _, bad := range []string{`{"path":"/$auth","id":"r"}`, `{"path":"/$auth","id":"r","data":[1]}`, `{"path":"/$auth","id":"r","data":{"token":7}}`} {
		client.put(bad)
		client.wantError("r", wire.CodeValidation)
	}
	if user := s.connections()[0].client.who().User; user != "alice" {
		t.Errorf("the user is %q", user)
	}
	if ok := receive(w, "the hook", renewals); !ok {
		t.Error("the first renewal counts as failed")
	}

	plain := w.gateway(Config{})
	plain.routed("/echo")
	c := plain.dial()
	c.put(`{"path":"/$auth","id":"1","data":{"token":"alice"}}`)
	c.wantError("1", wire.CodeUnauthorized)
}

// wantExpiring reads the warning of an identity that expires a time after it was
// established, of which a busy machine may have used some.
func (c *wsClient) wantExpiring(after time.Duration) {
	c.w.Helper()
	var warning struct {
		Path string
		Data expiring
	}
	if text := c.get(); json.Unmarshal([]byte(text), &warning) != nil || warning.Path != AuthPath ||
		warning.Data.Event != "token_expiring" || warning.Data.ExpiresIn < 1 || warning.Data.ExpiresIn > seconds(after) {
		c.w.Errorf("the client got %s; want to be told that its identity expires in %v", text, after)
	}
}

// TestExpiry: a client is warned, and closed when its identity has expired, unless
// it has renewed it.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	reasons := make(chan string, 2)
	s := w.gateway(Config{
		Authenticator: stub{}, ExpiryWarning: time.Hour, ExpiryGrace: 20 * time.Millisecond, PingInterval: 30 * time.Millisecond,
		Hooks: Hooks{SocketClosed: func(_ wire.CloseCode, reason string, _ time.Duration) { reasons <- reason }},
	})
	const short = 2 * time.Second // is not over before the client is told, also on a busy machine
	client := s.dial("boreas.stub.alice+" + short.String())
	client.wantExpiring(short)
	if more := client.wantClose(wire.ClosePolicy, "token_expired"); len(more) > 0 {
		t.Errorf("it was told more: %s", more)
	}
	if got := receive(w, "the hook", reasons); got != "token_expired" {
		t.Errorf("the reason is %s", got)
	}

	client = s.dial("boreas.stub.alice+10s")
	client.wantExpiring(10 * time.Second)
	client.put(`{"path":"/$auth","id":"1","data":{"token":"alice+5000h"}}`)
	var renewed struct {
		ID   string
		Data struct {
			User      string
			ExpiresIn int64 `json:"expires_in"`
		}
	}
	if text := client.get(); json.Unmarshal([]byte(text), &renewed) != nil || renewed.ID != "1" || renewed.Data.User != "alice" ||
		renewed.Data.ExpiresIn > 18000000 || renewed.Data.ExpiresIn < 18000000-60 {
		t.Errorf("the client got %s", text)
	}
	client.put(`{"path":"/$auth","id":"2","data":{"token":"alice+1ms"}}`)
	got := client.get()
	if strings.Contains(got, "token_expiring") { // the warning may come before the answer
		got = client.get()
	}
	if !strings.HasPrefix(got, `{"id":"2"`) {
		t.Errorf("the client got %s", got)
	}
	client.wantClose(wire.ClosePolicy, "token_expired")

	far := s.dial("boreas.stub.alice+2562047h") // as far as a duration goes
	far.put(message("/nowhere", "1", ""))
	far.wantError("1", wire.CodeNoRoute)
}

// TestExpiryWithoutWarning: the warning can be off.
func TestExpiryWithoutWarning(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{Authenticator: stub{}, ExpiryWarning: -1, ExpiryGrace: -1, PingInterval: 30 * time.Millisecond})
	client := s.dial("boreas.stub.alice+200ms")
	if more := client.wantClose(wire.ClosePolicy, "token_expired"); len(more) > 0 {
		t.Errorf("it was told %s", more)
	}
}

// TestRenewInEveryEncoding: the data is in the connection's encoding.
func TestRenewInEveryEncoding(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{Authenticator: stub{}})
	for _, e := range []envelope.Encoding{envelope.JSON, envelope.MsgPack, envelope.Protobuf} {
		data, err := json.Marshal(renewal{Token: "alice+60s"})
		if e == envelope.MsgPack {
			data, err = msgpack.Marshal(renewal{Token: "alice+60s"})
		}
		if err != nil {
			t.Fatal(err)
		}
		client := s.dial(e.Subprotocol(), "boreas.stub.alice")
		if err := client.WriteMessage(int(e.MessageType()), e.AppendMessage(nil, envelope.Message{ID: "1", Path: AuthPath, Data: data})); err != nil {
			t.Fatal(err)
		}
		kind, msg, err := client.ReadMessage()
		if err != nil || kind != int(e.MessageType()) {
			t.Fatalf("%v: type %d, %v", e, kind, err)
		}
		head, err := e.Peek(msg)
		if err != nil || string(head.ID) != "1" {
			t.Fatalf("%v: %q, %v", e, msg, err)
		}
		var got renewed
		if e == envelope.MsgPack {
			err = msgpack.Unmarshal(head.Data, &got)
		} else {
			err = json.Unmarshal(head.Data, &got)
		}
		if err != nil || got != (renewed{"alice", 60}) {
			t.Errorf("%v: %+v, %v", e, got, err)
		}
	}
}

// FuzzDecodeRenewal: no data of a client makes more than an error.
func FuzzDecodeRenewal(f *testing.F) {
	packed, err := msgpack.Marshal(renewal{Token: "alice"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(envelope.JSON), []byte(`{"token":"alice"}`))
	f.Add(byte(envelope.MsgPack), packed)
	f.Fuzz(func(t *testing.T, e byte, data []byte) {
		token, err := decodeRenewal(envelope.Encoding(e%3), data)
		if (err == nil) != (token != "") || len(token) > auth.MaxCredential {
			t.Errorf("%d bytes of token, %v", len(token), err)
		}
	})
}
