package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestRawHandshakes sends handshakes byte by byte as written here.
func TestRawHandshakes(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{ForwardHeaders: []string{"X-Tenant"}})
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const good = "Host: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key
	for name, test := range map[string]struct {
		request string // without the empty line at its end
		status  int
	}{
		"good":                 {"GET /ws HTTP/1.1\r\n" + good, 101},
		"absolute form":        {"GET http://gw/ws HTTP/1.1\r\n" + good, 101},
		"folded header":        {"GET /ws HTTP/1.1\r\n" + good + "X-Long: a\r\n  b\r\n", 101},
		"underscores":          {"GET /ws HTTP/1.1\r\n" + good + "X_Tenant: evil\r\n", 101},
		"HTTP/1.0":             {"GET /ws HTTP/1.0\r\n" + good, 505},
		"POST":                 {"POST /ws HTTP/1.1\r\n" + good, 405},
		"body":                 {"GET /ws HTTP/1.1\r\nContent-Length: 5\r\n" + good, 400},
		"chunked body":         {"GET /ws HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + good, 400},
		"two upgrades":         {"GET /ws HTTP/1.1\r\n" + good + "Upgrade: websocket\r\n", 400},
		"upgrade to h2c, too":  {"GET /ws HTTP/1.1\r\n" + good + "Upgrade: h2c\r\n", 400},
		"no key":               {"GET /ws HTTP/1.1\r\n" + strings.Replace(good, key, "", 1), 400},
		"two keys":             {"GET /ws HTTP/1.1\r\n" + good + key, 400},
		"short key":            {"GET /ws HTTP/1.1\r\n" + strings.Replace(good, "dGhl", "", 1), 400},
		"two versions":         {"GET /ws HTTP/1.1\r\n" + good + "Sec-WebSocket-Version: 8\r\n", 400},
		"no host":              {"GET /ws HTTP/1.1\r\n" + strings.Replace(good, "Host: gw\r\n", "", 1), 400},
		"space before a colon": {"GET /ws HTTP/1.1\r\n" + good + "X-Tenant : evil\r\n", 400},
		"NUL in a header":      {"GET /ws HTTP/1.1\r\n" + good + "X-Tenant: a\x00b\r\n", 400},
		"unknown subprotocols": {"GET /ws HTTP/1.1\r\n" + good + "Sec-WebSocket-Protocol: " + strings.Repeat("x,", 5000) + "y\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", gw.http.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c, test.request+"\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("status %d; want %d", resp.StatusCode, test.status)
			}
		})
	}
	for _, c := range gw.connections() {
		if len(c.client.headers) > 0 {
			t.Errorf("a header with an underscore is forwarded: %v", c.client.headers)
		}
	}
}

// TestPrivateRoutes tries to reach what a service did not announce.
func TestPrivateRoutes(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/public")})
	gw.routed("/public")
	c := gw.dial()
	for path, code := range map[string]wire.ErrorCode{
		"/private":                      wire.CodeNoRoute,
		"/public/private":               wire.CodeNoRoute,
		"/PUBLIC":                       wire.CodeNoRoute,
		"/public;/private":              wire.CodeNoRoute,
		"/public?x":                     wire.CodeNoRoute,
		"/public/../private":            wire.CodeBadPath,
		"/public//private":              wire.CodeBadPath,
		"/public/%2e%2e/private":        wire.CodeBadPath,
		"/public/%2E./private":          wire.CodeBadPath,
		"/public%2f..%2fprivate":        wire.CodeBadPath,
		"/public/..%5cprivate":          wire.CodeBadPath,
		"/public%00":                    wire.CodeBadPath,
		`/public\u0000`:                 wire.CodeBadPath,
		"private":                       wire.CodeBadPath,
		"//private":                     wire.CodeBadPath,
		"http://a/private":              wire.CodeBadPath,
		"/" + strings.Repeat("x", 2000): wire.CodeBadMessage,
	} {
		c.put(`{"path":"` + path + `","id":"1"}`)
		if code == wire.CodeBadMessage {
			c.get()
			continue
		}
		c.wantError("1", code)
	}
}
