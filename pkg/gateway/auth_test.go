package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestIdentityTravels: an instance is told who the client is when its stream
// opens, and ahead of the next message when that changes.
func TestIdentityTravels(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{})
	first := w.instance(w.node(), registry.Service{Name: "first", Routes: routes("/first")})
	second := w.instance(w.node(), registry.Service{Name: "second", Routes: routes("/second")})
	s.routed("/first")
	s.routed("/second")
	client := s.dial()
	client.put(message("/first", "1", ""))
	one := receive(w, "the stream", first.opened)
	if len(one.open.Identity) != 0 {
		t.Errorf("an anonymous client has the identity %q", one.open.Identity)
	}
	receive(w, "the message", one.data)

	alice := wire.Identity{User: "alice", Claims: []byte(`{}`)}
	s.connections()[0].identify(alice)
	client.put(message("/first", "2", ""))
	receive(w, "the second message", one.data)
	one.mu.Lock()
	defer one.mu.Unlock()
	if d := cmp.Diff([]wire.Kind{wire.KindData, wire.KindIdentity, wire.KindData}, one.kinds); d != "" {
		t.Errorf("frames: %s", d)
	}
	client.put(message("/second", "3", ""))
	two := receive(w, "the second stream", second.opened)
	if got, err := wire.ParseIdentity(two.open.Identity); err != nil || !cmp.Equal(got, alice) {
		t.Errorf("the second instance was told %+v, %v", got, err)
	}
}

// stub takes "boreas.stub.<token>", "?token=" and "?ticket=". A token is a user, with
// "+<lifetime>" if it expires; some have another meaning.
type stub struct{}

func (stub) Authenticate(ctx context.Context, h *auth.Handshake) (wire.Identity, error) {
	token, err := auth.Sources{Subprotocol: "stub", Query: auth.TokenParameter}.Find(h)
	if err != nil {
		return wire.Identity{}, err
	}
	return stub{}.Renew(ctx, wire.Identity{}, token)
}

func (stub) Renew(ctx context.Context, _ wire.Identity, token string) (wire.Identity, error) {
	switch token {
	case "bad":
		return wire.Identity{}, &auth.Refusal{Code: auth.BadCredential, Text: "this one is bad"}
	case "old":
		return wire.Identity{}, &auth.Refusal{Code: auth.Expired, Text: "this one is old"}
	case "barred":
		return wire.Identity{}, &auth.Refusal{Code: auth.Denied, Text: "you are barred"}
	case "down":
		return wire.Identity{User: "nobody"}, errors.New("no connection to the judge")
	case "slow":
		<-ctx.Done()
		return wire.Identity{}, ctx.Err()
	case "panic":
		panic("with the token " + token)
	case "huge":
		return wire.Identity{User: "alice", Claims: make([]byte, wire.MaxIdentity)}, nil
	}
	user, lifetime, expires := strings.Cut(token, "+")
	i := wire.Identity{User: user, Method: "stub"}
	if expires {
		d, err := time.ParseDuration(lifetime)
		if err != nil {
			return i, err
		}
		i.Expires = time.Now().Add(d)
	}
	return i, nil
}

// TestRefusedClients: every client that may not connect is told why by status and
// code, its credential is not logged, and it does not count as connected.
func TestRefusedClients(t *testing.T) {
	w := newWorld(t)
	var log lockedBuffer
	refused := make(chan Refusal, 1)
	s := w.gateway(Config{
		Authenticator: stub{}, AuthTimeout: 3 * time.Second, MaxSockets: 1,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Hooks:  Hooks{Refused: func(r Refusal) { refused <- r }},
	})
	for token, want := range map[string]struct {
		status int
		code   Refusal
	}{
		"":       {401, RefuseNoCredential},
		"bad":    {401, RefuseBadCredential},
		"huge":   {401, RefuseBadCredential},
		"old":    {401, RefuseExpired},
		"barred": {403, RefuseDenied},
		"down":   {503, RefuseAuthUnavailable},
		"slow":   {503, RefuseAuthUnavailable},
		"panic":  {503, RefuseAuthUnavailable},
	} {
		query := "?secret=ooze"
		if token != "" {
			query += "&token=" + token
		}
		_, resp, err := websocket.DefaultDialer.Dial(s.url("/ws"+query), nil)
		if err == nil {
			t.Fatalf("%s: connected", token)
		}
		var body struct{ Error, Code string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Errorf("%s: %v", token, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || Refusal(body.Code) != want.code || body.Error == "" {
			t.Errorf("%s: %d %+v; want %+v", token, resp.StatusCode, body, want)
		}
		if (resp.Header.Get("Www-Authenticate") != "") != (want.status == 401) || (resp.Header.Get("Retry-After") != "") != (want.status == 503) {
			t.Errorf("%s: headers %v", token, resp.Header)
		}
		if got := receive(w, "the hook", refused); got != want.code {
			t.Errorf("%s: the hook was told %s", token, got)
		}
	}
	s.dial("boreas.stub.alice") // none of those took the only place
	for _, secret := range []string{"ooze", "with the token"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, log.String())
		}
	}
}

// TestRefusedBeforeAsking: what is refused anyway consumes no ticket.
func TestRefusedBeforeAsking(t *testing.T) {
	w := newWorld(t)
	asked := make(chan struct{}, 10)
	s := w.gateway(Config{Authenticator: asking(asked), MaxSockets: 1})
	s.dial()
	<-asked
	for _, h := range []http.Header{nil, {"Origin": {"https://evil.example"}}, {"Sec-Websocket-Protocol": {"soap"}}} {
		if _, resp, err := websocket.DefaultDialer.Dial(s.url("/ws"), h); err == nil {
			t.Fatalf("%v: connected", h)
		} else {
			_ = resp.Body.Close()
		}
	}
	if len(asked) > 0 {
		t.Error("the authenticator was asked")
	}
}

// asking counts the questions.
type asking chan struct{}

func (a asking) Authenticate(context.Context, *auth.Handshake) (wire.Identity, error) {
	a <- struct{}{}
	return wire.Identity{}, nil
}

// TestCredentialsStayAtTheGateway: neither the answer to the handshake nor what
// instances are told holds a credential, and a client cannot say who it is.
func TestCredentialsStayAtTheGateway(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{Authenticator: stub{}, ForwardHeaders: []string{"Sec-WebSocket-Protocol", "X-User", "Boreas-User"}})
	i := w.instance(w.node(), registry.Service{Name: "echo", Routes: routes("/echo")})
	s.routed("/echo")
	d := websocket.Dialer{Subprotocols: []string{"boreas.stub.alice", "velaros-json", "boreas.other.secret"}}
	forged := http.Header{"X-User": {"mallory"}, "Boreas-User": {"mallory"}}
	if _, resp, err := d.Dial(s.url("/ws?%74oken=bob"), forged); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a client with two credentials got %v, %v", resp, err)
	}
	conn, resp, err := d.Dial(s.url("/ws?a=1&ticket=secret&b=2&c=%20&x=y;token=secret"), forged)
	if err != nil {
		t.Fatal(err, resp)
	}
	defer conn.Close()
	if got := resp.Header["Sec-Websocket-Protocol"]; len(got) != 1 || got[0] != "velaros-json" {
		t.Errorf("the answer has the subprotocols %q", got)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"path":"/echo","meta":{"user":"mallory"}}`)); err != nil {
		t.Fatal(err)
	}
	open := receive(w, "the stream", i.opened).open
	if got := string(open.Append(nil)); strings.Contains(got, "secret") || strings.Contains(got, "boreas.") {
		t.Errorf("the instance was told %q", got)
	}
	if open.Query != "a=1&b=2&c=%20" {
		t.Errorf("the instance sees the query %q", open.Query)
	}
	if who, err := wire.ParseIdentity(open.Identity); err != nil || who.User != "alice" {
		t.Errorf("the instance sees %+v, %v", who, err)
	}
}

// TestIdentitySurvivesRepin: the next instance is told who the client is.
func TestIdentitySurvivesRepin(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{Authenticator: stub{}})
	one := w.node()
	i := w.instance(one, registry.Service{Name: "echo", Routes: routes("/echo"), OnInstanceLoss: registry.PolicyRepin})
	s.routed("/echo")
	client := s.dial("boreas.stub.alice")
	client.put(message("/echo", "1", ""))
	p := receive(w, "the stream", i.opened)
	receive(w, "the message", p.data)
	client.put(`{"path":"/$auth","id":"r","data":{"token":"alice+60s"}}`)
	client.want(`{"id":"r","data":{"user":"alice","expires_in":60}}`)

	other := w.instance(w.node(), registry.Service{Name: "echo", Routes: routes("/echo"), OnInstanceLoss: registry.PolicyRepin})
	if err := one.Registry().SetState(w.context(), "echo", registry.StateDraining); err != nil {
		t.Fatal(err)
	}
	if err := p.stream.SendRelease(); err != nil {
		t.Fatal(err)
	}
	receive(w, "the end of the stream", p.closes)
	client.put(message("/echo", "2", ""))
	again := receive(w, "the stream to the other instance", other.opened)
	if who, err := wire.ParseIdentity(again.open.Identity); err != nil || who.User != "alice" || who.Expires.IsZero() {
		t.Errorf("the other instance sees %+v, %v", who, err)
	}
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
