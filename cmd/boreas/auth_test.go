package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/router"
	jsonmw "github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// safeBuffer is a log that several goroutines write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// system is gateways with the flags under test, and a service that tells clients
// who they are, over a Redis.
type system struct {
	redis *redistest.Server
	log   *safeBuffer
	urls  []string
	who   *authentication // of the first gateway
}

func startSystem(t *testing.T, gateways int, flags gatewayFlags) *system {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	s := &system{redis: redistest.Start(t, redistest.Config{TCP: true}), log: &safeBuffer{}}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	open := func() *backplane.Backplane {
		bp, err := backplane.Open(ctx, s.redis.URL(), backplane.Config{Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = closeBackplane(bp) })
		return bp
	}
	r := router.NewRouter()
	r.Use(jsonmw.Middleware())
	r.PublicBind("/whoami", func(c *router.Context) {
		i := c.Identity()
		_ = c.Send(map[string]string{"user": i.User, "method": i.Method, "claims": string(i.Claims)})
	})
	svc := service.New("who", open(), r, service.Config{Logger: logger})
	if err := svc.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Stop(ctx) })
	flags.Redis, flags.Namespace = s.redis.URL(), "boreas"
	for range gateways {
		who, err := flags.openAuth(ctx, logger)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(who.close)
		if s.who == nil {
			s.who = who
		}
		gw, err := gateway.New("public", open(), gateway.Config{Authenticator: who.authenticator, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- gw.Run(running) }()
		server := httptest.NewServer(gw)
		t.Cleanup(func() { stop(); <-ended; server.Close() })
		if err := awaitRoute(ctx, gw, "/whoami"); err != nil {
			t.Fatal(err)
		}
		s.urls = append(s.urls, "ws"+strings.TrimPrefix(server.URL, "http")+"/ws")
	}
	return s
}

func awaitRoute(ctx context.Context, gw *gateway.Gateway, path string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !gw.CanServePath(path) || gw.Ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// connect reports the status of the handshake, and what /whoami says.
func connect(t *testing.T, url string, h http.Header, subprotocols ...string) (status int, who map[string]string) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	c, resp, err := d.Dial(url, h)
	if err != nil {
		if resp == nil {
			t.Error(err)
			return 0, nil
		}
		_ = resp.Body.Close()
		return resp.StatusCode, nil
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if err := c.WriteMessage(websocket.TextMessage, []byte(`{"path":"/whoami","meta":{"user":"mallory"},"data":{"user":"mallory"}}`)); err != nil {
		t.Error(err)
	}
	var answer struct{ Data map[string]string }
	if err := c.ReadJSON(&answer); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, answer.Data
}

// TestTicketThroughTwoGateways: a ticket from the shell connects one client,
// whichever gateways are tried at the same time, as its user.
func TestTicketThroughTwoGateways(t *testing.T) {
	s := startSystem(t, 2, gatewayFlags{authFlags: authFlags{Auth: []string{"ticket"}}})
	for round := range 5 {
		var out, errs bytes.Buffer
		if status := run([]string{"ticket", "--user", "alice", "--claims", `{"role":"admin"}`, "--redis", s.redis.TCPURL()}, nil, &out, &errs); status != 0 {
			t.Fatalf("status %d: %s", status, errs.String())
		}
		ticket := strings.TrimSpace(out.String())
		var mu sync.Mutex
		var winners []map[string]string
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				status, who := connect(t, s.urls[i%2]+"?user=mallory", http.Header{"Boreas-User": {"mallory"}}, "velaros-json", "boreas.ticket."+ticket)
				mu.Lock()
				defer mu.Unlock()
				if status == http.StatusSwitchingProtocols {
					winners = append(winners, who)
				} else if status != http.StatusUnauthorized {
					t.Errorf("status %d", status)
				}
			})
		}
		group.Wait()
		if len(winners) != 1 || winners[0]["user"] != "alice" || winners[0]["claims"] != `{"role":"admin"}` || winners[0]["method"] != "ticket" {
			t.Fatalf("round %d: %v got in", round, winners)
		}
		if strings.Contains(s.log.String(), ticket) {
			t.Errorf("the log has the ticket:\n%s", s.log.String())
		}
	}
	if status, _ := connect(t, s.urls[0], nil); status != http.StatusUnauthorized {
		t.Errorf("without a ticket: %d", status)
	}
}

// TestTicketsByHTTP: backends mint tickets at the internal listener, with the key.
func TestTicketsByHTTP(t *testing.T) {
	s := startSystem(t, 1, gatewayFlags{authFlags: authFlags{Auth: []string{"ticket", "none"}}})
	post := func(key, sent string) *httptest.ResponseRecorder {
		h := internalHandler(func() error { return nil }, key, s.who.mounts(key, slog.New(slog.DiscardHandler))...)
		r := httptest.NewRequest(http.MethodPost, "/tickets", strings.NewReader(`{"user":"bob"}`))
		r.Header.Set("Content-Type", "application/json")
		if sent != "" {
			r.Header.Set("Authorization", "Bearer "+sent)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const key = "0123456789abcdef"
	for _, c := range []struct {
		key, sent string
		status    int
	}{{"", "", 403}, {key, "", 401}, {key, "another", 401}, {key, key, 201}} {
		w := post(c.key, c.sent)
		if w.Code != c.status {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
		if w.Code != http.StatusCreated {
			continue
		}
		var got struct{ Ticket string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if status, who := connect(t, s.urls[0]+"?ticket="+got.Ticket, nil); status != 101 || who["user"] != "bob" {
			t.Errorf("the client got %d, %v", status, who)
		}
		if status, _ := connect(t, s.urls[0]+"?ticket="+got.Ticket, nil); status != 401 {
			t.Errorf("the same ticket again: %d, not anonymous", status)
		}
		if strings.Contains(s.log.String(), got.Ticket) {
			t.Error("the log has the ticket")
		}
	}
	if status, who := connect(t, s.urls[0], nil); status != 101 || who["user"] != "" {
		t.Errorf("an anonymous client: %d, %v", status, who)
	}
}

// TestTokenWithSecretFile: the settings reach the verifier, and the secret nothing
// else.
func TestTokenWithSecretFile(t *testing.T) {
	const secret = "a-secret-that-nobody-may-ever-see"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startSystem(t, 1, gatewayFlags{authFlags: authFlags{
		Auth: []string{"jwt"}, JWTAlgorithms: []string{"HS256"}, JWTIssuer: "me", JWTAudience: "you", JWTSecretFile: file,
	}})
	claims := golangjwt.MapClaims{"sub": "carol", "iss": "me", "aud": "you", "exp": time.Now().Add(time.Hour).Unix()}
	token, err := golangjwt.NewWithClaims(golangjwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if status, who := connect(t, s.urls[0], http.Header{"Authorization": {"Bearer " + token}}); status != 101 || who["user"] != "carol" {
		t.Errorf("%d, %v", status, who)
	}
	if status, _ := connect(t, s.urls[0], http.Header{"Authorization": {"Bearer " + token + "x"}}); status != 401 {
		t.Errorf("a broken token: %d", status)
	}
	for _, hidden := range []string{secret, token} {
		if strings.Contains(s.log.String(), hidden) {
			t.Errorf("the log has %s", hidden)
		}
	}
}

// TestAuthSettings: mistakes are told, and secrets never.
func TestAuthSettings(t *testing.T) {
	const secret = "hush-hush-hush-hush-hush-hush-hush"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown":       {[]string{"--auth", "magic"}, "unknown"},
		"twice":         {[]string{"--auth", "ticket,ticket"}, "twice"},
		"after none":    {[]string{"--auth", "none,ticket"}, "last"},
		"bare jwt":      {[]string{"--auth", "jwt"}, "Algorithms"},
		"bare webhook":  {[]string{"--auth", "webhook"}, "URL"},
		"two secrets":   {[]string{"--auth", "jwt", "--jwt-secret", secret, "--jwt-secret-file", "x"}, "give one"},
		"no file":       {[]string{"--auth", "webhook", "--webhook-key-file", "/nowhere"}, "webhook-key-file"},
		"none":          {[]string{"--auth", "jwt", "--jwt-algorithms", "none", "--jwt-secret", secret}, "unknown"},
		"a password":    {[]string{"--auth", "webhook", "--webhook-url", "https://u:" + secret + "@x/"}, "without a password"},
		"short secrets": {[]string{"--auth", "jwt", "--jwt-algorithms", "HS256", "--jwt-secret", secret[:20]}, "20 bytes"},
	} {
		var out, errs safeBuffer
		status := run(append([]string{"gateway", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"}, c.args...), nil, &out, &errs)
		if status != exitUsage || !strings.Contains(errs.String(), c.want) || strings.Contains(errs.String(), secret[:20]) {
			t.Errorf("%s: status %d, %s", name, status, errs.String())
		}
	}
	var out, errs safeBuffer
	env := []string{"BOREAS_JWT_SECRET=" + secret, "BOREAS_WEBHOOK_KEY=" + secret, "BOREAS_WEBHOOK_URL=https://u:" + secret + "@x/"}
	if status := run([]string{"config"}, env, &out, &errs); status != 0 || strings.Contains(out.String()+errs.String(), secret) {
		t.Errorf("config: status %d\n%s%s", status, out.String(), errs.String())
	}
	if !strings.Contains(out.String(), "BOREAS_JWT_SECRET") {
		t.Errorf("config does not list the setting:\n%s", out.String())
	}
}
