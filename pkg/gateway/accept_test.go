package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// try connects with a header and returns what the handshake gave.
func (s *server) try(h http.Header) (*websocket.Conn, *http.Response) {
	s.w.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience}
	conn, resp, err := d.Dial(s.url("/ws"), h)
	if resp == nil {
		s.w.Fatal(err)
	}
	if conn != nil {
		s.w.Cleanup(func() { conn.Close() })
	}
	return conn, resp
}

// wantRefused fails the test unless the response is a JSON error.
func (s *server) wantRefused(resp *http.Response, status int, why Refusal) {
	s.w.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.w.Fatal(err)
	}
	var got struct{ Error, Code string }
	if err := json.Unmarshal(body, &got); err != nil {
		s.w.Fatalf("%s: %v", body, err)
	}
	if resp.StatusCode != status || got.Code != string(why) || got.Error == "" {
		s.w.Errorf("the handshake got %d %s; want %d with code %s", resp.StatusCode, body, status, why)
	}
}

func TestSubprotocols(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	a := w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	for _, test := range []struct {
		offer    []string // header lines
		chosen   string
		encoding envelope.Encoding
		refused  bool
	}{
		{offer: nil, chosen: "", encoding: envelope.JSON},
		{offer: []string{"velaros-json"}, chosen: "velaros-json", encoding: envelope.JSON},
		{offer: []string{"velaros-msgpack"}, chosen: "velaros-msgpack", encoding: envelope.MsgPack},
		{offer: []string{"velaros-protobuf"}, chosen: "velaros-protobuf", encoding: envelope.Protobuf},
		{offer: []string{"soap, velaros-protobuf,velaros-json"}, chosen: "velaros-protobuf", encoding: envelope.Protobuf},
		{offer: []string{"soap", "velaros-msgpack"}, chosen: "velaros-msgpack", encoding: envelope.MsgPack},
		{offer: []string{"boreas.ticket.s3cret, velaros-json"}, chosen: "velaros-json", encoding: envelope.JSON},
		{offer: []string{"boreas.ticket.s3cret"}, chosen: "", encoding: envelope.JSON},
		{offer: []string{"soap"}, refused: true},
		{offer: []string{"VELAROS-JSON"}, refused: true},
		{offer: []string{"boreas.ticket.s3cret", "soap, mqtt"}, refused: true},
	} {
		conn, resp := gw.try(http.Header{protocolHeader: test.offer})
		if test.refused {
			gw.wantRefused(resp, http.StatusBadRequest, RefuseSubprotocol)
			continue
		}
		if got := resp.Header.Values(protocolHeader); strings.Join(got, "|") != test.chosen {
			t.Errorf("offer %q: the gateway chose %q; want %q", test.offer, got, test.chosen)
		}
		msg := test.encoding.AppendMessage(nil, envelope.Message{ID: "1", Path: "/a"})
		if err := conn.WriteMessage(int(test.encoding.MessageType()), msg); err != nil {
			t.Fatal(err)
		}
		s := receive(w, "open", a.opened)
		if s.open.Subprotocol != test.chosen || envelope.Encoding(s.open.Encoding) != test.encoding {
			t.Errorf("offer %q: the instance was told %q, %v; want %q, %v",
				test.offer, s.open.Subprotocol, s.open.Encoding, test.chosen, test.encoding)
		}
		d := receive(w, "data", s.data)
		if string(d.Payload) != string(msg) || d.Type != test.encoding.MessageType() {
			t.Errorf("offer %q: the instance got %q, type %d", test.offer, d.Payload, d.Type)
		}
	}
}

// TestOpenDescribesClient checks what an instance is told, and what not.
func TestOpenDescribesClient(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{ForwardHeaders: append(DefaultForwardHeaders(), "x-tenant", "sec-websocket-protocol")})
	a := w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	d := websocket.Dialer{Subprotocols: []string{"velaros-json", "boreas.ticket.s3cret"}}
	conn, _, err := d.Dial(gw.url("/any/path?a=1&b=%20"), http.Header{
		"User-Agent":    {"test"},
		"X-Tenant":      {"one", "two"},
		"Cookie":        {"session=s3cret"},
		"Authorization": {"Bearer s3cret"},
		"X-Other":       {"s3cret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.WriteMessage(websocket.TextMessage, []byte(message("/a", "1", "x"))); err != nil {
		t.Fatal(err)
	}
	o := receive(w, "open", a.opened).open
	if o.Service != "a" || o.Gateway != "public" || o.Path != "/any/path" || o.Query != "a=1&b=%20" ||
		o.Subprotocol != "velaros-json" || o.RemoteAddr != conn.LocalAddr().String() || o.Credit != DefaultReplyWindow {
		t.Errorf("the instance was told %+v", o)
	}
	want := []wire.HeaderField{{Name: "User-Agent", Value: "test"}, {Name: "X-Tenant", Value: "one"}, {Name: "X-Tenant", Value: "two"}}
	if !slices.Equal(o.Headers, want) {
		t.Errorf("the instance sees the headers %v; want %v", o.Headers, want)
	}
}

func TestOrigins(t *testing.T) {
	w := newWorld(t)
	node := w.node()
	same := w.gatewayOn(node, Config{})
	listed := w.gatewayOn(node, Config{AllowedOrigins: []string{"https://app.example.com"}})
	all := w.gatewayOn(node, Config{AllowedOrigins: []string{"*"}})
	own := w.gatewayOn(node, Config{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "odd" }})
	for _, test := range []struct {
		gw     *server
		origin string
		ok     bool
	}{
		{same, "", true},
		{same, same.http.URL, true},
		{same, "https://app.example.com", false},
		{same, "null", false},
		{listed, "https://app.example.com", true},
		{listed, listed.http.URL, true},
		{listed, "https://app.example.com.evil.example", false},
		{listed, "http://app.example.com", false},
		{all, "https://anything.example", true},
		{own, "odd", true},
		{own, own.http.URL, false},
	} {
		h := http.Header{}
		if test.origin != "" {
			h.Set("Origin", test.origin)
		}
		conn, resp := test.gw.try(h)
		if (conn != nil) != test.ok {
			t.Errorf("origin %q of %v: status %d", test.origin, test.gw.cfg.AllowedOrigins, resp.StatusCode)
		}
		if !test.ok {
			test.gw.wantRefused(resp, http.StatusForbidden, RefuseOrigin)
		}
	}
}

func TestRefusedHandshakes(t *testing.T) {
	w := newWorld(t)
	refused := make(chan Refusal, 10)
	gw := w.gateway(Config{MaxSockets: 1, Hooks: Hooks{Refused: func(r Refusal) { refused <- r }}})
	hook := func(want Refusal) {
		t.Helper()
		if got := receive(w, "the hook", refused); got != want {
			t.Errorf("the hook was told %s; want %s", got, want)
		}
	}

	resp, err := http.Get(gw.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	gw.wantRefused(resp, http.StatusUpgradeRequired, RefuseNotWebSocket)
	_ = resp.Body.Close()
	hook(RefuseNotWebSocket)

	req, _ := http.NewRequest(http.MethodGet, gw.http.URL, nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"12"}}
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	gw.wantRefused(resp, http.StatusBadRequest, RefuseNotWebSocket)
	_ = resp.Body.Close()
	hook(RefuseNotWebSocket)

	_, resp = gw.try(http.Header{"User-Agent": {strings.Repeat("x", maxClient)}})
	gw.wantRefused(resp, http.StatusRequestHeaderFieldsTooLarge, RefuseTooLarge)
	hook(RefuseTooLarge)

	first := gw.dial()
	_, resp = gw.try(nil)
	gw.wantRefused(resp, http.StatusServiceUnavailable, RefuseTooMany)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("a 503 has no Retry-After")
	}
	hook(RefuseTooMany)
	_ = first.Close()
	w.eventually("there is room again", func() bool {
		gw.mu.Lock()
		defer gw.mu.Unlock()
		return len(gw.sockets)+gw.accepting == 0
	})
	gw.dial()
}

func TestNotRunning(t *testing.T) {
	w := newWorld(t)
	g, err := New("public", w.node(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if g.Ready() == nil {
		t.Error("a gateway is ready before Run")
	}
	if err := g.Drain(w.context()); err != nil {
		t.Errorf("draining a gateway that does not run: %v", err)
	}
	gw := w.gateway(Config{})
	gw.stop()
	<-gw.ended
	if gw.Ready() == nil {
		t.Error("a gateway is ready after Run")
	}
	_, resp := gw.try(nil)
	gw.wantRefused(resp, http.StatusServiceUnavailable, RefuseNotReady)
	if err := gw.Run(w.context()); err == nil {
		t.Error("a gateway runs twice")
	}
}

func TestConfig(t *testing.T) {
	_, err := New("Not A Slug", nil, Config{
		MaxMessageBytes: -1, MaxConversations: -1, ReplyWindow: 1, PingInterval: time.Millisecond,
		PeerTimeout: time.Nanosecond, PinTimeout: -1, CloseTimeout: -1, HandbackTimeout: -1, ForwardHeaders: []string{""},
	})
	if err == nil {
		t.Fatal("a configuration of nonsense is accepted")
	}
	for _, what := range []string{
		"gateway name", "backplane", "MaxMessageBytes", "MaxConversations", "ReplyWindow", "PingInterval", "PeerTimeout",
		"PinTimeout", "CloseTimeout", "HandbackTimeout", "ForwardHeaders",
	} {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("the error does not name %s: %v", what, err)
		}
	}
	if _, err := New("public", newWorld(t).nodeWith(link.Config{WindowBytes: 32 << 10}), Config{}); err == nil ||
		!strings.Contains(err.Error(), "MaxMessageBytes") {
		t.Errorf("a backplane that carries less than a message: %v", err)
	}
	if err := (Config{}).withDefaults().validate(); err != nil {
		t.Errorf("the zero configuration: %v", err)
	}
	if err := (Config{PingInterval: -1, PeerTimeout: -1, MessageTimeout: -1, SlowConsumerTimeout: -1, DrainWindow: -1, MaxSockets: -1}).
		withDefaults().validate(); err != nil {
		t.Errorf("all that can be disabled is: %v", err)
	}
}
