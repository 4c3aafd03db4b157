package hostile

import (
	"net/http"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/test/cluster"
)

// handshakes are attacks on the HTTP in front of a WebSocket.
func handshakes() []attack {
	const line = "GET /ws HTTP/1.1\r\n"
	without := func(part string) string { return strings.Replace(handshake, part, "", 1) }
	var list []attack
	for _, h := range []struct {
		name    string
		request string // without the empty line at its end
		status  int
		code    string // "" if the HTTP server answers
	}{
		{"10,000 headers", line + handshake + strings.Repeat("X-A: b\r\n", 10000), 431, ""},
		{"a header of 64 KiB", line + handshake + "X-A: " + strings.Repeat("x", 1<<16) + "\r\n", 431, ""},
		{"a URL of 64 KiB", "GET /ws?" + strings.Repeat("x", 1<<16) + " HTTP/1.1\r\n" + handshake, 431, ""},
		{"no upgrade", line + "Host: gw\r\n", 426, "not_websocket"},
		{"upgrade to h2c", line + strings.Replace(handshake, "websocket", "h2c", 1), 426, "not_websocket"},
		{"upgrade to two protocols", line + handshake + "Upgrade: h2c\r\n", 400, "not_websocket"},
		{"two upgrades", line + handshake + "Upgrade: websocket\r\n", 400, "not_websocket"},
		{"no key", line + without(keyHeader), 400, "not_websocket"},
		{"two keys", line + handshake + keyHeader, 400, "not_websocket"},
		{"two keys in one header", line + strings.Replace(handshake, "==\r\n", "==, dGhlIHNhbXBsZSBub25jZQ==\r\n", 1), 400, "not_websocket"},
		{"a key of 8 bytes", line + strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnRrZXk=", 1), 400, "not_websocket"},
		{"a key that is not base64", line + strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!!!", 1), 400, "not_websocket"},
		{"version 8", line + strings.Replace(handshake, "13", "8", 1), 400, "not_websocket"},
		{"two versions", line + handshake + "Sec-WebSocket-Version: 8\r\n", 400, "not_websocket"},
		{"no version", line + without("Sec-WebSocket-Version: 13\r\n"), 400, "not_websocket"},
		{"HTTP/1.0", "GET /ws HTTP/1.0\r\n" + handshake, 505, "not_websocket"},
		{"HTTP/0.9", "GET /ws\r\n", 400, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n", 400, ""},
		{"POST", "POST /ws HTTP/1.1\r\n" + handshake, 405, "not_websocket"},
		{"CONNECT", "CONNECT gw:80 HTTP/1.1\r\n" + handshake, 404, ""},
		{"a method with a NUL", "G\x00T /ws HTTP/1.1\r\n" + handshake, 400, ""},
		{"a body", line + "Content-Length: 5\r\n" + handshake, 400, "not_websocket"},
		{"a chunked body", line + "Transfer-Encoding: chunked\r\n" + handshake, 400, "not_websocket"},
		{"a length and chunks", line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + handshake, 400, "not_websocket"},
		{"two lengths", line + "Content-Length: 5\r\nContent-Length: 6\r\n" + handshake, 400, ""},
		{"a negative length", line + "Content-Length: -1\r\n" + handshake, 400, ""},
		{"an unknown transfer encoding", line + "Transfer-Encoding: xchunked\r\n" + handshake, 501, ""},
		{"no host", line + without("Host: gw\r\n"), 400, ""},
		{"two hosts", line + handshake + "Host: other\r\n", 400, ""},
		{"a space before a colon", line + handshake + "X-A : b\r\n", 400, ""},
		{"a NUL in a header", line + handshake + "X-A: a\x00b\r\n", 400, ""},
		{"a bare CR in a header", line + handshake + "X-A: a\rb\r\n", 400, ""},
		{"a header without a colon", line + handshake + "evil\r\n", 400, ""},
		{"only unknown subprotocols, 5,000 of them", line + handshake + "Sec-WebSocket-Protocol: " + strings.Repeat("x,", 5000) + "y\r\n", 400, "subprotocol"},
		{"a subprotocol in other case", line + handshake + "Sec-WebSocket-Protocol: VELAROS-JSON\r\n", 400, "subprotocol"},
		{"a page of another origin", line + handshake + "Origin: " + evilPage + "\r\n", 403, "origin"},
		{"the origin null", line + handshake + "Origin: null\r\n", 403, "origin"},
		{"two origins", line + handshake + "Origin: " + appPage + "\r\nOrigin: " + evilPage + "\r\n", 403, "origin"},
		{"an origin that begins like an allowed one", line + handshake + "Origin: " + appPage + ".evil.example.net\r\n", 403, "origin"},
		{"an origin with a user", line + handshake + "Origin: https://app.example.com@evil.example.net\r\n", 403, "origin"},
		{"an allowed origin without TLS", line + handshake + "Origin: http://app.example.com\r\n", 403, "origin"},
		{"an own host by a header with underscores", line + handshake + "Origin: " + evilPage + "\r\nX_Forwarded_Host: evil.example.net\r\n", 403, "origin"},
		{"pprof", "GET /debug/pprof/ HTTP/1.1\r\nHost: gw\r\n", 404, ""},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: gw\r\n", 404, ""},
		{"tickets", "GET /tickets HTTP/1.1\r\nHost: gw\r\n", 404, ""},
		{"another case of the path", "GET /WS HTTP/1.1\r\n" + handshake, 404, ""},
		{"more behind the path", "GET /ws/x HTTP/1.1\r\n" + handshake, 404, ""},
		{"an encoded slash in the path", "GET /ws%2f HTTP/1.1\r\n" + handshake, 404, ""},
		{"a NUL in the path", "GET /ws%00 HTTP/1.1\r\n" + handshake, 404, ""},
		{"a bad escape in the path", "GET /ws%zz HTTP/1.1\r\n" + handshake, 400, ""},
		{"the asterisk form", "GET * HTTP/1.1\r\n" + handshake, 400, ""},
		// Odd, and allowed.
		{"a target in absolute form", "GET http://gw/ws HTTP/1.1\r\n" + handshake, 101, ""},
		{"a folded header", line + handshake + "X-Long: a\r\n  b\r\n", 101, ""},
	} {
		list = append(list, attack{name: h.name, run: func(t *testing.T, w *world) {
			status, code := dial(t, w.open, "").request(h.request + "\r\n")
			if status != h.status || code != h.code {
				t.Errorf("answered with %d %q; want %d %q", status, code, h.status, h.code)
			}
		}})
	}
	return append(list,
		attack{name: "headers with underscores", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade("User_Agent: evil", "X_Forwarded_For: 192.0.2.66", "Sec_WebSocket_Protocol: velaros-msgpack")
			if got := c.info(); got.Agent != "" || got.Remote != "127.0.0.1" {
				t.Errorf("the service sees %+v", got)
			}
		}},
		attack{name: "a second request behind the handshake", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.write(line + handshake + "\r\n" + line + handshake + "\r\n")
			if b, err := c.r.Peek(1); err == nil {
				t.Errorf("answered with %q", b)
			}
		}},
		attack{name: "a header that never ends", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.write(line + handshake + "X-A: b")
			c.wantEnd()
		}},
		attack{name: "headers at one byte per second", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.write(line + "Host: gw\r\n")
			stop := c.drip("X-A: " + strings.Repeat("b", 1000))
			defer stop()
			c.wantEnd()
		}},
		attack{name: "a body at one byte per second", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.write("POST /nowhere HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\n")
			stop := c.drip(strings.Repeat("b", 1000))
			defer stop()
			c.wantEnd()
		}},
		attack{name: "a connection without a word", slow: true, run: func(t *testing.T, w *world) {
			dial(t, w.open, "").wantEnd()
		}},
		attack{name: "a body that never comes", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			if status, code := c.request(line + "Content-Length: 1000000\r\n" + handshake + "\r\n"); status != 400 || code != "not_websocket" {
				t.Errorf("answered with %d %s", status, code)
			}
			c.wantEnd()
		}},
		attack{name: "the internal listener without its key", run: func(t *testing.T, w *world) {
			w.wantKept(t, w.open, "")
		}},
		attack{name: "the internal listener with another key", run: func(t *testing.T, w *world) {
			w.wantKept(t, w.open, internalKey+"x")
		}},
	)
}

// wantKept asks for all that the internal listener keeps to itself.
func (w *world) wantKept(t *testing.T, g *cluster.Gateway, key string) {
	t.Helper()
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/tickets", "/", "/livez/../metrics"} {
		if status, _ := w.internal(t, g, http.MethodGet, path, key, ""); status != http.StatusUnauthorized {
			t.Errorf("%s answers %d", path, status)
		}
	}
	if status, _ := w.internal(t, g, http.MethodPost, "/tickets", key, `{"user":"root"}`); status != http.StatusUnauthorized {
		t.Errorf("a ticket is minted without a key: %d", status)
	}
}
