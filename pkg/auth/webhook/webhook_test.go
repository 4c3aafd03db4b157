package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint answers with one text, and counts and keeps the questions.
type endpoint struct {
	*httptest.Server
	asked atomic.Int64
	last  atomic.Pointer[question]
	key   atomic.Pointer[string]
}

func newEndpoint(t *testing.T, answer http.HandlerFunc) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		key := r.Header.Get("Authorization")
		e.asked.Add(1)
		e.last.Store(&q)
		e.key.Store(&key)
		answer(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, text)
	}
}

func (e *endpoint) hook(t *testing.T, cfg Config) *Hook {
	t.Helper()
	cfg.URL = e.URL
	cfg.Client = e.Client()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func from(cookie string) *auth.Handshake {
	return &auth.Handshake{
		Gateway: "public", Path: "/ws", ClientAddr: "192.0.2.7:5000",
		Header: http.Header{"Cookie": {cookie}, "X-Internal": {"hush"}},
	}
}

func TestVerdicts(t *testing.T) {
	for answer, want := range map[string]struct {
		status int
		code   auth.Code
	}{
		`{"allow":true,"user":"alice","claims":{"a":1}}`: {200, ""},
		`{"allow":true}`: {200, ""},
		`{"allow":true,"user":"alice","claims":null,"expires":9e9}`: {200, ""},
		`{"allow":true,"user":"alice","expires":1000}`:              {200, auth.Expired},
		`{"allow":false,"user":"alice"}`:                            {200, auth.Denied},
		`no`:                                                        {403, auth.Denied},
		`who?`:                                                      {401, auth.Denied},
		`{}`:                                                        {200, auth.Unavailable},
		`null`:                                                      {200, auth.Unavailable},
		``:                                                          {200, auth.Unavailable},
		`<html>`:                                                    {200, auth.Unavailable},
		`{"allow":"true"}`:                                          {200, auth.Unavailable},
		`{"allow":true,"user":"a\nb"}`:                              {200, auth.Unavailable},
		`{"allow":true,"user":"a","claims":[]}`:                     {200, auth.Unavailable},
		`{"allow":true,"user":"a","expires":-1}`:                    {200, auth.Unavailable},
		`{"allow":true,"user":"a","expires":1767225600000}`:          {200, auth.Unavailable},
		`{"allow":true,"user":"d"}`:                                  {500, auth.Unavailable},
		`{"allow":true,"user":"b"}`:                                  {302, auth.Unavailable},
		`{"allow":true,"user":"c"}`:                                  {204, auth.Unavailable},
		`{"allow":true,"user":"a"}` + strings.Repeat(" ", maxAnswer): {200, auth.Unavailable},
	} {
		e := newEndpoint(t, says(want.status, answer))
		i, err := e.hook(t, Config{}).Authenticate(t.Context(), from("session=secret"))
		code := auth.Code("")
		if r := auth.Judge(err); r != nil {
			code = r.Code
			if strings.Contains(r.Error(), "secret") {
				t.Errorf("the refusal quotes the cookie: %v", r)
			}
		}
		if code != want.code || code == "" && i.Method != Method {
			t.Errorf("%d %.60s: %+v, %v; want %q", want.status, answer, i, err, want.code)
		}
	}
}

func TestQuestion(t *testing.T) {
	e := newEndpoint(t, says(200, `{"allow":true,"user":"alice"}`))
	h := e.hook(t, Config{Key: "backend-key"})
	if _, err := h.Authenticate(t.Context(), from("session=1")); err != nil {
		t.Fatal(err)
	}
	q := e.last.Load()
	if q.Client != "192.0.2.7" || q.Path != "/ws" || q.Gateway != "public" || len(q.Headers) != 1 || q.Headers["Cookie"][0] != "session=1" {
		t.Errorf("the question is %+v", q)
	}
	if *e.key.Load() != "Bearer backend-key" {
		t.Errorf("the key is %q", *e.key.Load())
	}
	if _, err := h.Renew(t.Context(), wire.Identity{User: "alice", Method: Method}, "t2"); err != nil || e.last.Load().Token != "t2" {
		t.Errorf("renewal: %+v, %v", e.last.Load(), err)
	}
	if _, err := h.Renew(t.Context(), wire.Identity{Method: "jwt"}, "t2"); err != auth.ErrNoCredential { //nolint:errorlint // bare by contract
		t.Errorf("another method's identity: %v", err)
	}
}

// TestCache: the same question is asked once, another one again, and the cache has a
// bound.
func TestCache(t *testing.T) {
	e := newEndpoint(t, says(200, `{"allow":true,"user":"alice"}`))
	h := e.hook(t, Config{CacheTTL: time.Hour, CacheSize: 3})
	for range 3 {
		if i, err := h.Authenticate(t.Context(), from("session=1")); err != nil || i.User != "alice" {
			t.Fatal(i, err)
		}
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for i := range 20 {
		if _, err := h.Authenticate(t.Context(), from(fmt.Sprint("session=", i+2))); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.asked.Load(); n != 21 || len(h.cache.entries) != 3 {
		t.Errorf("asked %d times, %d answers kept", n, len(h.cache.entries))
	}
	h = e.hook(t, Config{CacheTTL: -1})
	for range 2 {
		_, _ = h.Authenticate(t.Context(), from("session=1"))
	}
	if n := e.asked.Load(); n != 23 {
		t.Errorf("asked %d times without a cache", n)
	}
	var c = newCache(2)
	no := false
	key := sha256.Sum256([]byte("q"))
	c.put(key, verdict{Allow: &no}, time.Now())
	if _, ok := c.get(key, time.Now()); ok {
		t.Error("an answer outlives its time")
	}
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSameQuestionAtOnce: many clients with one credential are asked about once,
// although the first of them leaves, and another credential is asked about apart.
func TestSameQuestionAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		ttl   time.Duration
		do    func() (*http.Response, error)
		asked int64
		code  auth.Code
	}{
		"allowed": {0, func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"allow":true,"user":"alice"}`))}, nil
		}, 2, ""},
		"denied": {0, func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody}, nil
		}, 2, auth.Denied},
		"not answered": {0, func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 2, auth.Unavailable},
		"panic":        {0, func() (*http.Response, error) { panic("a defect") }, 2, auth.Unavailable},
		"no cache": {-1, func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody}, nil
		}, 12, auth.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				release := make(chan struct{})
				h, err := New(Config{URL: "http://hook.test/", CacheTTL: tt.ttl, Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					asked.Add(1)
					<-release
					return tt.do()
				})}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if tt.ttl == 0 {
					go func() {
						if _, err := h.Authenticate(ctx, from("session=1")); auth.Judge(err) == nil {
							t.Error("who has left is let in")
						}
					}()
					synctest.Wait()
				}
				var group sync.WaitGroup
				for i := range 12 {
					cookie := "session=1"
					if i == 0 {
						cookie = "session=2"
					}
					group.Go(func() {
						_, err := h.Authenticate(t.Context(), from(cookie))
						var code auth.Code
						if r := auth.Judge(err); r != nil {
							code = r.Code
						}
						if code != tt.code {
							t.Errorf("%v; want %q", err, tt.code)
						}
					})
				}
				synctest.Wait()
				leave()
				synctest.Wait()
				if n := asked.Load(); n != tt.asked {
					t.Errorf("asked %d times; want %d", n, tt.asked)
				}
				close(release)
				group.Wait()
			})
		})
	}
}

// TestFailClosed: nobody gets in while the endpoint does not answer, and nothing of
// that is kept.
func TestFailClosed(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			<-r.Context().Done()
			return
		}
		_, _ = fmt.Fprint(w, `{"allow":true,"user":"alice"}`)
	})
	h := e.hook(t, Config{Timeout: 100 * time.Millisecond})
	_, err := h.Authenticate(t.Context(), from("session=1"))
	if r := auth.Judge(err); r == nil || r.Code != auth.Unavailable {
		t.Errorf("slow: %v", err)
	}
	hang.Store(false)
	h.cfg.Timeout = 20 * time.Second
	if _, err := h.Authenticate(t.Context(), from("session=1")); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	e.Close()
	h.cfg.URL += "?code=hush"
	_, err = h.Authenticate(t.Context(), from("session=2"))
	if r := auth.Judge(err); r == nil || r.Code != auth.Unavailable || strings.Contains(err.Error(), "hush") {
		t.Errorf("down: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, url := range []string{"", "ftp://x/", "https://u:hush@x/", "https://", "::"} {
		if _, err := New(Config{URL: url}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Config{URL: "http://x/", Timeout: -1}); err == nil {
		t.Error("a negative timeout is accepted")
	}
}

// FuzzVerdict: no answer panics, and those that are accepted make a good identity.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"allow":true,"user":"alice","claims":{"a":1},"expires":9e9}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parseVerdict(text)
		if err != nil {
			return
		}
		i, err := v.identity()
		if err == nil && (i.User != "" && auth.CheckUser(i.User) != nil || auth.CheckClaims(i.Claims) != nil) {
			t.Errorf("%q gives %+v", text, i)
		}
	})
}
