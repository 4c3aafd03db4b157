package hostile

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/boreas-ws/boreas/test/cluster"
)

// set changes a claim of a good token; a nil value removes it.
func set(name string, value any) jwt.MapClaims { return jwt.MapClaims{name: value} }

// claims are those of a good token, but for the changed ones.
func claims(changed jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": "alice",
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, header map[string]any, c jwt.MapClaims, key any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hs makes a token that is signed with the secret.
func (w *world) hs(t *testing.T, changed jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, nil, claims(changed), []byte(secret))
}

// rs makes a token that is signed with a key under a name.
func (w *world) rs(t *testing.T, key *rsa.PrivateKey, id string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodRS256, map[string]any{"kid": id}, claims(nil), key)
}

// ticket mints one. body is the request's.
func (w *world) ticket(t *testing.T, body string) string {
	t.Helper()
	status, answer := w.internal(t, w.open, http.MethodPost, "/tickets", internalKey, body)
	var minted struct{ Ticket string }
	if err := json.Unmarshal([]byte(answer), &minted); err != nil || status != http.StatusCreated {
		t.Fatalf("no ticket: %d %s", status, answer)
	}
	return minted.Ticket
}

// info is what a service sees of its client.
type info struct{ User, Remote, Agent, Cookie, Protocol, Query string }

// info asks what a service sees; the address without its port.
func (c *conn) info() (i info) {
	c.t.Helper()
	c.say(`{"path":"/info","id":"info","meta":{"user":"root"},"data":{"user":"root"}}`)
	text := c.hear()
	answer := struct{ Data *info }{&i}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	if n := strings.LastIndexByte(i.Remote, ':'); n > 0 && (strings.Count(i.Remote, ":") == 1 || strings.HasPrefix(i.Remote, "[")) {
		i.Remote = strings.Trim(i.Remote[:n], "[]")
	}
	return i
}

// credentials are attacks on who a client is.
func credentials() []attack {
	const good = `{"user":"alice"}`
	subprotocol := func(kind, credential string) string {
		return "Sec-WebSocket-Protocol: boreas." + kind + "." + credential
	}
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	encode := base64.RawURLEncoding.EncodeToString
	var list []attack
	refused := func(name string, status int, code string, headers func(t *testing.T, w *world) []string) {
		list = append(list, attack{name: name, run: func(t *testing.T, w *world) {
			if got, gotCode := dial(t, w.open, "").shake(headers(t, w)...); got != status || gotCode != code {
				t.Errorf("answered with %d %s; want %d %s", got, gotCode, status, code)
			}
		}})
	}
	// token is an attack with a token.
	token := func(name, code string, forge func(t *testing.T, w *world) string) {
		refused(name, http.StatusUnauthorized, code, func(t *testing.T, w *world) []string { return []string{bearer(forge(t, w))} })
	}
	const bad = "bad_credential"
	token("alg none", bad, func(t *testing.T, _ *world) string {
		return sign(t, jwt.SigningMethodNone, nil, claims(nil), jwt.UnsafeAllowNoneSignatureType)
	})
	token("alg nOnE", bad, func(*testing.T, *world) string {
		body, _ := json.Marshal(claims(nil))
		return encode([]byte(`{"alg":"nOnE","typ":"JWT"}`)) + "." + encode(body) + "."
	})
	token("a public key as a secret", bad, func(t *testing.T, w *world) string {
		return sign(t, jwt.SigningMethodHS256, map[string]any{"kid": "k1"}, claims(nil), w.publicPEM)
	})
	token("an algorithm that is not allowed", bad, func(t *testing.T, _ *world) string {
		return sign(t, jwt.SigningMethodHS512, nil, claims(nil), []byte(secret))
	})
	token("an empty secret", bad, func(t *testing.T, _ *world) string {
		return sign(t, jwt.SigningMethodHS256, nil, claims(nil), []byte{})
	})
	token("somebody's key under a known name", bad, func(t *testing.T, w *world) string { return w.rs(t, w.other, "k1") })
	token("an unknown key", bad, func(t *testing.T, w *world) string { return w.rs(t, w.other, "k2") })
	token("a key name that is a path", bad, func(t *testing.T, w *world) string { return w.rs(t, w.other, "../../../dev/null") })
	token("a key in the token", bad, func(t *testing.T, w *world) string {
		jwk := map[string]any{"kty": "RSA", "n": encode(w.other.N.Bytes()), "e": "AQAB"}
		return sign(t, jwt.SigningMethodRS256, map[string]any{"jwk": jwk, "jku": "http://127.0.0.1:1/keys"}, claims(nil), w.other)
	})
	token("unknown extensions", bad, func(t *testing.T, _ *world) string {
		return sign(t, jwt.SigningMethodHS256, map[string]any{"crit": []string{"x"}}, claims(nil), []byte(secret))
	})
	token("a signature cut off", bad, func(t *testing.T, w *world) string {
		s := w.hs(t, nil)
		return s[:strings.LastIndexByte(s, '.')+1]
	})
	token("a changed claim", bad, func(t *testing.T, w *world) string {
		parts := strings.Split(w.hs(t, nil), ".")
		body, _ := json.Marshal(claims(set("sub", "root")))
		return parts[0] + "." + encode(body) + "." + parts[2]
	})
	token("expired", "expired_credential", func(t *testing.T, w *world) string {
		return w.hs(t, set("exp", time.Now().Add(-time.Minute).Unix()))
	})
	for name, changed := range map[string]jwt.MapClaims{
		"not valid yet":           set("nbf", time.Now().Add(time.Hour).Unix()),
		"no expiry":               set("exp", nil),
		"an expiry of 1e999":      set("exp", json.RawMessage("1e999")),
		"an expiry as text":       set("exp", "tomorrow"),
		"another issuer's":        set("iss", "https://evil.example.net"),
		"for another audience":    set("aud", "payments"),
		"no user":                 set("sub", nil),
		"a user that is a number": set("sub", 1),
		"a user of 300 bytes":     set("sub", strings.Repeat("x", 300)),
		"a user with a line end":  set("sub", "alice\nroot"),
		"claims of 5 KiB":         set("x", strings.Repeat("x", 5000)),
	} {
		if raw, ok := changed["exp"].(json.RawMessage); ok { // no encoder writes that
			token(name, bad, func(t *testing.T, _ *world) string {
				head := encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(`{"iss":"`+issuer+`","aud":"`+audience+`","sub":"alice","exp":`+string(raw)+`}`))
				mac, err := jwt.SigningMethodHS256.Sign(head, []byte(secret))
				if err != nil {
					t.Fatal(err)
				}
				return head + "." + encode(mac)
			})
			continue
		}
		token(name, bad, func(t *testing.T, w *world) string { return w.hs(t, changed) })
	}
	token("a token of 9 KiB", bad, func(*testing.T, *world) string { return strings.Repeat("x", 9<<10) })
	token("a token that is no token", bad, func(*testing.T, *world) string { return "..." })
	refused("an empty token", 401, bad, func(*testing.T, *world) []string { return []string{"Authorization: Bearer "} })
	refused("two tokens", 401, bad, func(t *testing.T, w *world) []string {
		return []string{bearer(w.hs(t, nil)), subprotocol("jwt", w.hs(t, set("sub", "root")))}
	})
	refused("a ticket and another user's token", 401, bad, func(t *testing.T, w *world) []string {
		return []string{bearer(w.hs(t, set("sub", "root"))), subprotocol("ticket", w.ticket(t, good))}
	})
	refused("two tickets", 401, bad, func(t *testing.T, w *world) []string {
		return []string{subprotocol("ticket", w.ticket(t, good)) + ", boreas.ticket." + w.ticket(t, good)}
	})
	refused("an unknown ticket", 401, bad, func(*testing.T, *world) []string {
		return []string{subprotocol("ticket", strings.Repeat("A", 43))}
	})
	refused("a ticket that is no ticket", 401, bad, func(*testing.T, *world) []string {
		return []string{subprotocol("ticket", "*")}
	})
	refused("another origin's ticket", 401, bad, func(t *testing.T, w *world) []string {
		return []string{"Origin: https://other.example.com", subprotocol("ticket", w.ticket(t, `{"user":"alice","origin":"`+appPage+`"}`))}
	})
	refused("an origin's ticket, from no page", 401, bad, func(t *testing.T, w *world) []string {
		return []string{subprotocol("ticket", w.ticket(t, `{"user":"alice","origin":"`+appPage+`"}`))}
	})
	return append(list, identities()...)
}

// identities are attacks by clients that have, or had, a good credential.
func identities() []attack {
	return []attack{
		{name: "a replayed ticket", run: func(t *testing.T, w *world) {
			header := "Sec-WebSocket-Protocol: boreas.ticket." + w.ticket(t, `{"user":"alice"}`)
			c := dial(t, w.open, "")
			c.upgrade(header)
			if got := c.info(); got.User != "alice" || strings.Contains(fmt.Sprint(got), "boreas.ticket") {
				t.Errorf("the service sees %+v", got)
			}
			if status, code := dial(t, w.open, "").shake(header); status != 401 || code != "bad_credential" {
				t.Errorf("again it is answered with %d %s", status, code)
			}
		}},
		{name: "a ticket used up by another origin", run: func(t *testing.T, w *world) {
			header := "Sec-WebSocket-Protocol: boreas.ticket." + w.ticket(t, `{"user":"alice","origin":"`+appPage+`"}`)
			for _, origin := range []string{"https://other.example.com", appPage} {
				if status, code := dial(t, w.open, "").shake("Origin: "+origin, header); status != 401 || code != "bad_credential" {
					t.Errorf("from %s it is answered with %d %s", origin, status, code)
				}
			}
		}},
		{name: "an expired ticket", slow: true, run: func(t *testing.T, w *world) {
			header := "Sec-WebSocket-Protocol: boreas.ticket." + w.ticket(t, `{"user":"alice","ttl":1}`)
			await(t, 1200*time.Millisecond)
			if status, code := dial(t, w.open, "").shake(header); status != 401 || code != "bad_credential" {
				t.Errorf("answered with %d %s", status, code)
			}
		}},
		{name: "a user that a client gives itself", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade("X-User: root", "X-Boreas-User: root", "X_User: root", "Cookie: user=root; token=root", "X-Forwarded-User: root")
			if got := c.info(); got.User != "" || got.Cookie != "" {
				t.Errorf("the service sees %+v", got)
			}
		}},
		{name: "a token in the query, where none is taken", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			status, _ := c.request("GET /ws?q=1&token=" + w.hs(t, nil) + " HTTP/1.1\r\n" + handshake + "\r\n")
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("answered with %d", status)
			}
			if got := c.info(); got.User != "" || got.Query != "1" {
				t.Errorf("the service sees %+v", got)
			}
			if log := w.open.Log(); strings.Contains(log, "token=") {
				t.Error("the token is in the log")
			}
		}},
		{name: "another user's new token", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade("Authorization: Bearer " + w.hs(t, nil))
			c.say(`{"path":"/$auth","id":"1","data":{"token":"` + w.hs(t, set("sub", "root")) + `"}}`)
			c.wantError("1", "unauthorized")
			if got := c.info(); got.User != "alice" {
				t.Errorf("the service sees %+v", got)
			}
		}},
		{name: "a new token of an anonymous client", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade()
			c.say(`{"path":"/$auth","id":"1","data":{"token":"` + w.hs(t, nil) + `"}}`)
			c.wantError("1", "unauthorized")
		}},
		{name: "a new token that is none", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade("Authorization: Bearer " + w.hs(t, nil))
			c.say(`{"path":"/$auth","id":"1","data":{"token":7}}`)
			c.wantError("1", "validation")
			c.wantAlive()
		}},
		{name: "a token outlived", slow: true, run: func(t *testing.T, w *world) {
			for life := 2 * time.Second; ; life *= 2 { // a busy machine may outlive it before the handshake
				c := dial(t, w.open, "")
				status, code := c.shake("Authorization: Bearer " + w.hs(t, set("exp", time.Now().Add(life).Unix())))
				if code == "expired_credential" && life < patience {
					continue
				}
				if status != http.StatusSwitchingProtocols {
					t.Fatalf("the handshake is answered with %d %s", status, code)
				}
				c.wantClose(1008, "token_expired")
				return
			}
		}},
		on("nothing, where a credential is needed", strict, 401, "no_credential", func(*testing.T, *world) string { return "X-A: b" }),
		on("a token whose key cannot be fetched", strict, 503, "auth_unavailable", func(t *testing.T, w *world) string {
			return "Authorization: Bearer " + w.rs(t, w.signing, "k1")
		}),
		on("alg none while keys cannot be fetched", strict, 401, "bad_credential", func(t *testing.T, _ *world) string {
			return "Authorization: Bearer " + sign(t, jwt.SigningMethodNone, nil, claims(nil), jwt.UnsafeAllowNoneSignatureType)
		}),
		{name: "a user with too many connections", run: func(t *testing.T, w *world) {
			for i, want := range []int{101, 101, 429} {
				header := []string{"Authorization: Bearer " + w.hs(t, set("sub", "greedy")), fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", i)}
				if status, code := dial(t, w.strict, "").shake(header...); status != want || want == 429 && code != "user_limit" {
					t.Errorf("connection %d is answered with %d %s; want %d", i+1, status, code, want)
				}
			}
		}},
	}
}

func strict(w *world) *cluster.Gateway { return w.strict }

// on is an attack with a header on some gateway.
func on(name string, g func(*world) *cluster.Gateway, status int, code string, header func(t *testing.T, w *world) string) attack {
	return attack{name: name, run: func(t *testing.T, w *world) {
		if got, gotCode := dial(t, g(w), "").shake(header(t, w), "X-Forwarded-For: 203.0.113.5"); got != status || gotCode != code {
			t.Errorf("answered with %d %s; want %d %s", got, gotCode, status, code)
		}
	}}
}
