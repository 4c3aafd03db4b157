package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/auth"
)

// publish is a key in a key set.
func publish(t *testing.T, name, id string) map[string]string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	j := map[string]string{"kid": id, "use": "sig"}
	switch k := pairs()[name].Public().(type) {
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", encode(k.N.Bytes()), encode(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		j["kty"], j["crv"], j["x"], j["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", encode(k)
	}
	return j
}

// login is an issuer's server.
type login struct {
	*httptest.Server
	mu       sync.Mutex
	answer   http.HandlerFunc
	requests int
}

func newLogin(t *testing.T, keys ...map[string]string) *login {
	l := &login{}
	l.publish(keys...)
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.requests++
		answer := l.answer
		l.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *login) publish(keys ...map[string]string) {
	l.set(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
}

func (l *login) set(answer http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

func (l *login) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

func (l *login) tokens(t *testing.T, change func(*Config)) *Tokens {
	cfg := Config{Algorithms: []string{"RS256", "ES256", "EdDSA"}, JWKSURL: l.URL, JWKSMinInterval: time.Nanosecond}
	if change != nil {
		change(&cfg)
	}
	return newTokens(t, cfg)
}

func TestKeySet(t *testing.T) {
	secretKey := map[string]string{"kty": "oct", "kid": "s", "k": base64.RawURLEncoding.EncodeToString(secret)}
	encryption := publish(t, "rsa of another", "enc")
	encryption["use"] = "enc"
	l := newLogin(t, publish(t, "rsa", "r"), publish(t, "ecdsa", "e"), publish(t, "ed25519", "d"), secretKey, encryption, map[string]string{"kty": "new"})
	tokens := l.tokens(t, nil)
	for _, id := range []string{"r", ""} {
		wantCode(t, "RS256 "+id, tokens, sign(t, "RS256", pairs()["rsa"], with(nil), "kid", id), "")
	}
	wantCode(t, "ES256", tokens, sign(t, "ES256", pairs()["ecdsa"], with(nil), "kid", "e"), "")
	wantCode(t, "EdDSA", tokens, sign(t, "EdDSA", pairs()["ed25519"], with(nil), "kid", "d"), "")
	if n := l.asked(); n != 1 {
		t.Errorf("%d requests for good tokens", n)
	}
	wantCode(t, "a key under another's id", tokens, sign(t, "RS256", pairs()["rsa"], with(nil), "kid", "e"), auth.BadCredential)
	wantCode(t, "a key for encryption", tokens, sign(t, "RS256", pairs()["rsa of another"], with(nil), "kid", "enc"), auth.BadCredential)
	symmetric := l.tokens(t, func(c *Config) { c.Algorithms, c.Secret = []string{"RS256", "HS256"}, []byte(strings.Repeat("x", 32)) })
	wantCode(t, "a secret of the set", symmetric, sign(t, "HS256", secret, with(nil), "kid", "s"), auth.BadCredential)
}

// TestRotation: a new key is found at once, an old one is forgotten.
func TestRotation(t *testing.T) {
	l := newLogin(t, publish(t, "rsa", "1"))
	tokens := l.tokens(t, nil)
	before := sign(t, "RS256", pairs()["rsa"], with(nil), "kid", "1")
	after := sign(t, "ES256", pairs()["ecdsa"], with(nil), "kid", "2")
	wantCode(t, "before", tokens, before, "")
	wantCode(t, "unknown", tokens, after, auth.BadCredential)
	l.publish(publish(t, "ecdsa", "2"))
	wantCode(t, "after", tokens, after, "")
	wantCode(t, "the old key", tokens, before, auth.BadCredential)
}

// TestUnknownKeysAreNoFlood: tokens with unknown keys make few requests.
func TestUnknownKeysAreNoFlood(t *testing.T) {
	l := newLogin(t, publish(t, "rsa", "1"))
	tokens := l.tokens(t, func(c *Config) { c.JWKSMinInterval = time.Hour })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				wantCode(t, "unknown", tokens, sign(t, "ES256", pairs()["ecdsa"], with(nil), "kid", time.Now().String()), auth.BadCredential)
			}
		})
	}
	group.Wait()
	if n := l.asked(); n != 1 {
		t.Errorf("%d requests", n)
	}
	wantCode(t, "a known key meanwhile", tokens, sign(t, "RS256", pairs()["rsa"], with(nil), "kid", "1"), "")
}

// TestOutage: known keys stay good while the issuer is away, for a while; without
// them nobody gets in, and the client is not blamed.
func TestOutage(t *testing.T) {
	known := func() string { return sign(t, "RS256", pairs()["rsa"], with(nil), "kid", "1") }
	for name, answer := range map[string]http.HandlerFunc{
		"down": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat(" ", maxKeySet) + "{}"))
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"crowded": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`))
		},
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogin(t)
			l.set(answer)
			failed := make(chan error, 100)
			quick := func(c *Config) {
				c.JWKSTimeout, c.JWKSRefresh = 300*time.Millisecond, time.Nanosecond
				c.Fetched = func(_ int, err error) { failed <- err }
			}
			cold := l.tokens(t, quick)
			wantCode(t, "without keys", cold, known(), auth.Unavailable)
			if err := <-failed; err == nil {
				t.Error("the hook was not told of the failure")
			}

			l.publish(publish(t, "rsa", "1"))
			warm := l.tokens(t, func(c *Config) { quick(c); c.JWKSTimeout = 10 * time.Second })
			wantCode(t, "with keys", warm, known(), "")
			l.settle(warm)
			warm.remote.mu.Lock()
			warm.remote.cfg.JWKSTimeout = 300 * time.Millisecond
			warm.remote.mu.Unlock()
			l.set(answer)
			wantCode(t, "with stale keys", warm, known(), "")
			wantCode(t, "with an unknown key", warm, sign(t, "ES256", pairs()["ecdsa"], with(nil), "kid", "2"), auth.Unavailable)
			warm.remote.mu.Lock()
			warm.remote.fetched = time.Now().Add(-DefaultJWKSMaxStale)
			warm.remote.mu.Unlock()
			wantCode(t, "with keys that are too old", warm, known(), auth.Unavailable)
			l.settle(warm)
			warm.remote.mu.Lock()
			warm.remote.cfg.JWKSTimeout = 10 * time.Second // also of a busy machine
			warm.remote.mu.Unlock()
			l.publish(publish(t, "rsa", "1"))
			wantCode(t, "when it is back", warm, known(), "")
			l.settle(warm)
		})
	}
}

// settle waits for the last request.
func (l *login) settle(t *Tokens) {
	t.remote.mu.Lock()
	trying := t.remote.trying
	t.remote.mu.Unlock()
	if trying != nil {
		<-trying
	}
}
