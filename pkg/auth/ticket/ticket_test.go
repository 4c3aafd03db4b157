package ticket

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func newTickets(t *testing.T, cfg Config) (*Tickets, *redistest.Server) {
	t.Helper()
	srv := redistest.Start(t, redistest.Config{})
	tickets, err := New(srv.Client(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tickets, srv
}

func mint(t *testing.T, tickets *Tickets, g Grant) string {
	t.Helper()
	ticket, _, err := tickets.Mint(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// offering is the handshake of a client with a ticket.
func offering(ticket string, origins ...string) *auth.Handshake {
	h := http.Header{"Sec-Websocket-Protocol": {"velaros-json, boreas.ticket." + ticket}}
	if len(origins) > 0 {
		h["Origin"] = origins
	}
	return &auth.Handshake{Header: h}
}

// refused fails the test unless err is a refusal with that code, which does not
// quote the ticket.
func refused(t *testing.T, err error, want auth.Code, ticket string) {
	t.Helper()
	r := auth.Judge(err)
	if r == nil || r.Code != want {
		t.Errorf("%v; want %s", err, want)
	} else if ticket != "" && strings.Contains(r.Error()+r.Text, ticket) {
		t.Errorf("the refusal quotes the ticket: %v", r)
	}
}

func TestTicketWorksOnce(t *testing.T) {
	tickets, srv := newTickets(t, Config{Namespace: "ns"})
	ticket := mint(t, tickets, Grant{User: "alice", Claims: json.RawMessage(`{"role":"admin"}`)})
	keys := srv.Client().Keys(t.Context(), "*").Val()
	if len(keys) != 1 || !strings.HasPrefix(keys[0], "bo:ns:ticket:") || strings.Contains(keys[0], ticket) {
		t.Errorf("keys: %v", keys)
	}
	if value := srv.Client().Get(t.Context(), keys[0]).Val(); strings.Contains(value, ticket) {
		t.Errorf("Redis has the ticket: %s", value)
	}
	if ttl := srv.Client().PTTL(t.Context(), keys[0]).Val(); ttl <= 0 || ttl > DefaultTTL {
		t.Errorf("it lives for %v", ttl)
	}
	got, err := tickets.Authenticate(t.Context(), offering(ticket))
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Identity{User: "alice", Method: Method, Claims: []byte(`{"role":"admin"}`)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = tickets.Authenticate(t.Context(), offering(ticket))
	refused(t, err, auth.BadCredential, ticket)
	if n := srv.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("Redis still has %d keys", n)
	}

	ticket = mint(t, tickets, Grant{User: "bob"})
	if got, err = tickets.Authenticate(t.Context(), &auth.Handshake{Query: url.Values{"ticket": {ticket}}}); err != nil || got.User != "bob" {
		t.Errorf("by query: %+v, %v", got, err)
	}
	_, err = tickets.Authenticate(t.Context(), &auth.Handshake{Header: http.Header{"Authorization": {"Bearer " + ticket}}})
	refused(t, err, auth.NoCredential, ticket)
}

// TestReplayRace: of many that use one ticket at the same time, one gets in.
func TestReplayRace(t *testing.T) {
	tickets, _ := newTickets(t, Config{})
	for range 10 {
		ticket := mint(t, tickets, Grant{User: "alice"})
		var group sync.WaitGroup
		var mu sync.Mutex
		in := 0
		for range 20 {
			group.Go(func() {
				if _, err := tickets.Authenticate(t.Context(), offering(ticket)); err == nil {
					mu.Lock()
					in++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		if in != 1 {
			t.Fatalf("%d got in with one ticket", in)
		}
	}
}

func TestExpiredTicket(t *testing.T) {
	tickets, srv := newTickets(t, Config{})
	ticket := mint(t, tickets, Grant{User: "alice", TTL: time.Second})
	gone := time.After(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); srv.Client().DBSize(t.Context()).Val() > 0; {
		select {
		case <-tick.C:
		case <-gone:
			t.Fatal("the ticket does not expire")
		}
	}
	_, err := tickets.Authenticate(t.Context(), offering(ticket))
	refused(t, err, auth.BadCredential, ticket)
}

// TestOtherOrigin: a ticket that a page of another origin got hold of does not work
// there, and not anywhere after that.
func TestOtherOrigin(t *testing.T) {
	tickets, _ := newTickets(t, Config{})
	const home = "https://app.example.com"
	for name, origins := range map[string][]string{
		"another":   {"https://evil.example"},
		"a longer":  {home + ".evil.example"},
		"http":      {"http://app.example.com"},
		"a port":    {home + ":8443"},
		"none":      nil,
		"null":      {"null"},
		"two":       {home, "https://evil.example"},
		"two homes": {home, home},
	} {
		ticket := mint(t, tickets, Grant{User: "alice", Origin: home})
		_, err := tickets.Authenticate(t.Context(), offering(ticket, origins...))
		refused(t, err, auth.BadCredential, ticket)
		if err == nil {
			t.Error(name)
		}
		_, err = tickets.Authenticate(t.Context(), offering(ticket, home))
		refused(t, err, auth.BadCredential, ticket)
	}
	ticket := mint(t, tickets, Grant{User: "alice", Origin: home})
	if _, err := tickets.Authenticate(t.Context(), offering(ticket, home)); err != nil {
		t.Error(err)
	}
}

// TestForgedTickets: what was never minted is refused, most of it without Redis.
func TestForgedTickets(t *testing.T) {
	tickets, srv := newTickets(t, Config{})
	ticket := mint(t, tickets, Grant{User: "alice"})
	flipped := []byte(ticket)
	flipped[0] ^= 1
	_, err := tickets.Authenticate(t.Context(), offering(string(flipped)))
	refused(t, err, auth.BadCredential, "")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"x", ticket + "x", ticket[1:], strings.Repeat("é", 22), ticket[:42] + "=", ticket[:42] + "/", strings.Repeat("a", 8000)} {
		_, err := tickets.Authenticate(t.Context(), offering(bad))
		refused(t, err, auth.BadCredential, "")
	}
	_, err = tickets.Authenticate(t.Context(), offering(ticket))
	refused(t, err, auth.Unavailable, ticket)
}

// TestForeignValues: what somebody else put into Redis makes nobody a user.
func TestForeignValues(t *testing.T) {
	tickets, srv := newTickets(t, Config{})
	for _, value := range []string{"", "x", "{}", `{"user":""}`, `{"user":"a\n"}`, `{"user":"a","claims":[1]}`} {
		ticket := mint(t, tickets, Grant{User: "alice"})
		if err := srv.Client().Set(t.Context(), tickets.key(ticket), value, redis.KeepTTL).Err(); err != nil {
			t.Fatal(err)
		}
		_, err := tickets.Authenticate(t.Context(), offering(ticket))
		refused(t, err, auth.Unavailable, ticket)
	}
}

func TestGrants(t *testing.T) {
	tickets, _ := newTickets(t, Config{})
	for name, g := range map[string]Grant{
		"no user":       {},
		"odd user":      {User: "a\nb"},
		"odd origin":    {User: "a", Origin: "app.example.com"},
		"origin, path":  {User: "a", Origin: "https://app.example.com/x"},
		"origin *":      {User: "a", Origin: "*"},
		"claims":        {User: "a", Claims: json.RawMessage(`"x"`)},
		"negative ttl":  {User: "a", TTL: -1},
		"short ttl":     {User: "a", TTL: time.Millisecond},
		"long ttl":      {User: "a", TTL: time.Hour},
		"a lot claimed": {User: "a", Claims: json.RawMessage(`{"a":"` + strings.Repeat("a", 8000) + `"}`)},
	} {
		if _, _, err := tickets.Mint(t.Context(), g); !errors.Is(err, ErrGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, Config{Namespace: "X", TTL: time.Millisecond}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("New: %v", err)
	}
}

func TestHandler(t *testing.T) {
	tickets, srv := newTickets(t, Config{})
	var log bytes.Buffer
	h := tickets.Handler(slog.New(slog.NewTextHandler(&log, nil)))
	post := func(method, kind, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/tickets", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := post("POST", "application/json; charset=utf-8", `{"user":"alice","claims":{"a":1},"ttl":5}`)
	var got struct {
		Ticket    string
		ExpiresIn int `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusCreated || got.ExpiresIn != 5 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("the answer may be cached")
	}
	if i, err := tickets.Authenticate(t.Context(), offering(got.Ticket)); err != nil || i.User != "alice" || string(i.Claims) != `{"a":1}` {
		t.Errorf("%+v, %v", i, err)
	}
	for name, c := range map[string]struct {
		method, kind, body string
		status             int
	}{
		"get":         {"GET", "application/json", "", 405},
		"a form":      {"POST", "text/plain", `{"user":"alice"}`, 415},
		"no user":     {"POST", "application/json", `{}`, 400},
		"garbage":     {"POST", "application/json", `{"user":`, 400},
		"two objects": {"POST", "application/json", `{"user":"a"}{"user":"b"}`, 400},
		"a typo":      {"POST", "application/json", `{"user":"a","claim":{}}`, 400},
		"odd ttl":     {"POST", "application/json", `{"user":"a","ttl":1e300}`, 400},
		"huge":        {"POST", "application/json", `{"user":"` + strings.Repeat("a", maxRequest) + `"}`, 400},
	} {
		if w := post(c.method, c.kind, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if w := post("POST", "application/json", `{"user":"alice"}`); w.Code != 503 || log.Len() == 0 {
		t.Errorf("without Redis: %d, log %q", w.Code, log.String())
	}
}

// FuzzTicket: a ticket that is taken for one has the form of those that are minted.
func FuzzTicket(f *testing.F) {
	f.Add(strings.Repeat("a", 42) + "A")
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		if wellFormed(s) && (len(s) != ticketLen || url.QueryEscape(s) != s) {
			t.Errorf("%q", s)
		}
	})
}

// FuzzStored: what is in Redis makes at most an identity that Mint could have
// granted.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"user":"alice","origin":"https://a","claims":{"a":1}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := parseStored(value)
		if err == nil && (auth.CheckUser(s.User) != nil || auth.CheckClaims(s.Claims) != nil) {
			t.Errorf("%q gives %+v", value, s)
		}
	})
}

// FuzzRequest: no body makes more than an error.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"user":"alice","origin":"https://a","claims":{"a":1},"ttl":1.5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if g, err := parseRequest(bytes.NewReader(body)); err == nil && g.TTL < 0 {
			t.Errorf("%q gives %+v", body, g)
		}
	})
}
