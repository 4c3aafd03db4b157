package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://login.example.com/"
	audience = "boreas"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

// pairs are private keys, made once.
var pairs = sync.OnceValue(func() map[string]crypto.Signer {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	other, err2 := rsa.GenerateKey(rand.Reader, 2048)
	e, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, err4 := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			panic(err)
		}
	}
	return map[string]crypto.Signer{"rsa": r, "rsa of another": other, "ecdsa": e, "ed25519": ed}
})

// public is the PEM of some keys.
func public(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, n := range names {
		der, err := x509.MarshalPKIXPublicKey(pairs()[n].Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// with is a good token's claims with some changed; nil removes one.
func with(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "alice", "iss": issuer, "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "role": "admin"}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t *testing.T, alg string, key any, c jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTokens(t *testing.T, cfg Config) *Tokens {
	t.Helper()
	if cfg.Issuer == "" {
		cfg.Issuer = issuer
	}
	cfg.Audience = audience
	tokens, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func bearing(token string) *auth.Handshake {
	return &auth.Handshake{Header: http.Header{"Authorization": {"Bearer " + token}}}
}

// wantCode fails the test unless a token is refused with that code ("" for not at
// all), in words that do not quote it.
func wantCode(t *testing.T, name string, tokens *Tokens, token string, want auth.Code) {
	t.Helper()
	_, err := tokens.Authenticate(t.Context(), bearing(token))
	got := auth.Code("")
	if r := auth.Judge(err); r != nil {
		got = r.Code
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 8 && strings.Contains(r.Error(), part) {
				t.Errorf("%s: the refusal quotes the token: %v", name, r)
			}
		}
	}
	if got != want {
		t.Errorf("%s: %q (%v); want %q", name, got, err, want)
	}
}

// TestNamesOfClaims: a claim that differs in case is another one, and stands in for
// none.
func TestNamesOfClaims(t *testing.T) {
	tokens := newTokens(t, Config{Algorithms: []string{"HS256"}, Secret: secret})
	for name, value := range map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "iss": issuer, "aud": audience, "sub": "alice"} {
		c := with(jwt.MapClaims{name: nil, strings.ToUpper(name): value})
		wantCode(t, name, tokens, sign(t, "HS256", secret, c), auth.BadCredential)
	}
}

func TestGoodTokens(t *testing.T) {
	tokens := newTokens(t, Config{
		Algorithms: []string{"HS256", "HS512", "RS256", "PS256", "ES256", "EdDSA"}, Secret: secret, Keys: public(t, "rsa of another", "rsa", "ecdsa", "ed25519"),
	})
	for alg, key := range map[string]any{
		"HS256": secret, "HS512": secret, "RS256": pairs()["rsa"], "PS256": pairs()["rsa"], "ES256": pairs()["ecdsa"], "EdDSA": pairs()["ed25519"],
	} {
		until := time.Now().Add(time.Hour).Truncate(time.Second)
		token := sign(t, alg, key, with(jwt.MapClaims{"exp": until.Unix()}), "kid", "any")
		i, err := tokens.Authenticate(t.Context(), bearing(token))
		var claims struct{ Role string }
		if err != nil || i.User != "alice" || i.Method != Method || !i.Expires.Equal(until) || i.UnmarshalClaims(&claims) != nil || claims.Role != "admin" {
			t.Errorf("%s: %+v, %v", alg, i, err)
		}
	}
}

// TestForgedTokens: everything that is known to have worked somewhere.
func TestForgedTokens(t *testing.T) {
	rs := newTokens(t, Config{Algorithms: []string{"RS256"}, Keys: public(t, "rsa")})
	both := newTokens(t, Config{Algorithms: []string{"RS256", "HS256", "ES256"}, Keys: public(t, "rsa", "ecdsa"), Secret: secret})
	good := sign(t, "RS256", pairs()["rsa"], with(nil))
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	der, err := x509.MarshalPKIXPublicKey(pairs()["rsa"].Public())
	if err != nil {
		t.Fatal(err)
	}
	point, err := pairs()["ecdsa"].Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "good", rs, good, "")
	none := sign(t, "none", jwt.UnsafeAllowNoneSignatureType, with(nil))
	for name, token := range map[string]string{
		"alg none":                       none,
		"alg None":                       encode([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".",
		"alg none, signed":               encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2],
		"no alg":                         encode([]byte(`{}`)) + "." + parts[1] + "." + parts[2],
		"alg of a number":                encode([]byte(`{"alg":1}`)) + "." + parts[1] + "." + parts[2],
		"HS256 with the PEM as secret":   sign(t, "HS256", public(t, "rsa"), with(nil)),
		"HS256 with the DER as secret":   sign(t, "HS256", der, with(nil)),
		"HS256 with the point as secret": sign(t, "HS256", point, with(nil)),
		"HS256 with an empty secret":     sign(t, "HS256", []byte{}, with(nil)),
		"HS384, not allowed":             sign(t, "HS384", secret, with(nil)),
		"RS512, not allowed":             sign(t, "RS512", pairs()["rsa"], with(nil)),
		"PS256, not allowed":             sign(t, "PS256", pairs()["rsa"], with(nil)),
		"another's key":                  sign(t, "RS256", pairs()["rsa of another"], with(nil)),
		"another's key, path as kid":     sign(t, "RS256", pairs()["rsa of another"], with(nil), "kid", "../../dev/null"),
		"a key in the header":            sign(t, "RS256", pairs()["rsa of another"], with(nil), "jku", "https://evil.example/jwks"),
		"claims changed":                 parts[0] + "." + encode([]byte(`{"sub":"root"}`)) + "." + parts[2],
		"signature cut":                  parts[0] + "." + parts[1] + "." + parts[2][:40],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"ES256 with a zero signature":    encode([]byte(`{"alg":"ES256"}`)) + "." + parts[1] + "." + encode(make([]byte, 64)),
		"two segments":                   parts[0] + "." + parts[1],
		"four segments":                  good + "." + parts[2],
		"many segments":                  strings.Repeat(".", 8000),
		"padding":                        good + "==",
		"garbage":                        "garbage",
		"huge":                           good + strings.Repeat("A", auth.MaxCredential),
		"no JSON":                        encode([]byte("x")) + "." + encode([]byte("y")) + "." + encode([]byte("z")),
		"null claims":                    parts[0] + "." + encode([]byte("null")) + "." + parts[2],
		"unknown extension":              sign(t, "RS256", pairs()["rsa"], with(nil), "crit", "exp"),
		"another issuer's":               sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"iss": "https://evil.example/"})),
		"no issuer":                      sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"iss": nil})),
		"another audience":               sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"aud": []string{"billing"}})),
		"no audience":                    sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"aud": nil})),
		"no expiry":                      sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"exp": nil})),
		"an expiry in words":             sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"exp": "tomorrow"})),
		"not valid yet":                  sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()})),
		"no user":                        sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"sub": nil})),
		"an empty user":                  sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"sub": ""})),
		"a user of a number":             sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"sub": 1})),
		"a user with a line break":       sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"sub": "alice\nadmin"})),
		"more claims than anybody wants": sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"x": strings.Repeat("x", auth.MaxClaims)})),
	} {
		wantCode(t, name, rs, token, auth.BadCredential)
		wantCode(t, name+" (more algorithms)", both, token, auth.BadCredential)
	}
	wantCode(t, "expired", rs, sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()})), auth.Expired)
	wantCode(t, "within the leeway", rs, sign(t, "RS256", pairs()["rsa"], with(jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()})), "")
}

func TestPlaces(t *testing.T) {
	token := sign(t, "HS256", secret, with(nil))
	plain := newTokens(t, Config{Algorithms: []string{"HS256"}, Secret: secret})
	every := newTokens(t, Config{Algorithms: []string{"HS256"}, Secret: secret, Cookie: "session", Query: true})
	for name, c := range map[string]struct {
		h     auth.Handshake
		plain auth.Code
	}{
		"subprotocol": {auth.Handshake{Header: http.Header{"Sec-Websocket-Protocol": {"boreas.jwt." + token}}}, ""},
		"cookie":      {auth.Handshake{Header: http.Header{"Cookie": {"session=" + token}}}, auth.NoCredential},
		"query":       {auth.Handshake{Query: url.Values{"token": {token}}}, auth.NoCredential},
	} {
		if _, err := every.Authenticate(t.Context(), &c.h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := plain.Authenticate(t.Context(), &c.h)
		if r := auth.Judge(err); c.plain == "" && r != nil || c.plain != "" && (r == nil || r.Code != c.plain) {
			t.Errorf("%s, by default: %v", name, err)
		}
	}
}

func TestRenewOwnOnly(t *testing.T) {
	tokens := newTokens(t, Config{Algorithms: []string{"HS256"}, Secret: secret})
	token := sign(t, "HS256", secret, with(nil))
	if i, err := tokens.Renew(t.Context(), wire.Identity{User: "alice", Method: Method}, token); err != nil || i.User != "alice" {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := tokens.Renew(t.Context(), wire.Identity{User: "alice", Method: "ticket"}, token); err != auth.ErrNoCredential { //nolint:errorlint // bare by contract
		t.Errorf("another method's identity: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := Config{Algorithms: []string{"HS256"}, Secret: secret, Issuer: issuer, Audience: audience}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&weak.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no algorithm":        func(c *Config) { c.Algorithms = nil },
		"none":                func(c *Config) { c.Algorithms = []string{"HS256", "none"} },
		"no secret":           func(c *Config) { c.Secret = nil },
		"short secret":        func(c *Config) { c.Secret = secret[:31] },
		"a PEM as secret":     func(c *Config) { c.Secret = public(t, "rsa") },
		"no issuer":           func(c *Config) { c.Issuer = "" },
		"no audience":         func(c *Config) { c.Audience = "" },
		"no key":              func(c *Config) { c.Algorithms = []string{"RS256", "HS256"} },
		"a key of no use":     func(c *Config) { c.Keys = public(t, "rsa") },
		"a private key":       func(c *Config) { c.Keys = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}) },
		"a weak key":          func(c *Config) { c.Keys = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}) },
		"a broken key":        func(c *Config) { c.Keys = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}) },
		"no PEM":              func(c *Config) { c.Keys = []byte("x") },
		"http":                func(c *Config) { c.Algorithms, c.JWKSURL = []string{"RS256"}, "http://login.example.com/jwks" },
		"a password in a URL": func(c *Config) { c.Algorithms, c.JWKSURL = []string{"RS256"}, "https://u:hush@login.example.com/" },
	} {
		c := good
		change(&c)
		_, err := New(c)
		if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), string(secret)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzToken: no token panics, and only what was signed is accepted.
func FuzzToken(f *testing.F) {
	tokens, err := New(Config{Algorithms: []string{"HS256"}, Secret: secret, Issuer: issuer, Audience: audience})
	if err != nil {
		f.Fatal(err)
	}
	good, err := jwt.NewWithClaims(jwt.SigningMethodHS256, with(nil)).SignedString(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(strings.Repeat(".", 10))
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := tokens.verify(t.Context(), token); err == nil && token != good {
			t.Errorf("%q is accepted", token)
		}
	})
}

// FuzzKeySet: no key set panics, or gives keys that are weak.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeySet(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if checkMaterial(k.material) != nil {
				t.Errorf("%+v", k)
			}
		}
	})
}

// FuzzPEM: no file panics.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := parsePEM(text); err != nil && keys != nil {
			t.Errorf("keys and %v", err)
		}
	})
}
