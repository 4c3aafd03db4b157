package main

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const v2 = proxySignature

// proxyHeaders are headers, and the client that each names; "" stands for none,
// "!" for an error.
var proxyHeaders = map[string]string{
	"PROXY TCP4 203.0.113.7 10.0.0.1 5555 443\r\n":         "203.0.113.7:5555",
	"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n":      "[2001:db8::7]:5555",
	"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 55 443\r\n": "203.0.113.7:55",
	"PROXY UNKNOWN\r\n":                             "",
	"PROXY UNKNOWN ffff:f...f:ffff 1 2 3 4 5 6\r\n": "",
	v2 + "\x20\x00\x00\x00":                         "",
	v2 + "\x21\x00\x00\x00":                         "",
	v2 + "\x21\x31\x00\x00":                         "",
	v2 + "\x20\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\x15\xb3\x01\xbb":    "",
	v2 + "\x21\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\x15\xb3\x01\xbb":    "203.0.113.7:5555",
	v2 + "\x21\x11\x00\x0f\xcb\x00\x71\x07\x0a\x00\x00\x01\x15\xb3\x01\xbbTLV": "203.0.113.7:5555",
	v2 + "\x21\x21\x00\x24" + strings.Repeat("\x20", 32) + "\x15\xb3\x01\xbb":  "[2020:2020:2020:2020:2020:2020:2020:2020]:5555",
	v2 + "\x21\x11\x00\x0b\xcb\x00\x71\x07\x0a\x00\x00\x01\x15\xb3\x01":        "!",
	v2 + "\x11\x11\x00\x00":                         "!",
	v2 + "\x22\x11\x00\x00":                         "!",
	v2 + "\x21\x11\xff\xff":                         "!",
	"PROXY TCP4 2001:db8::7 10.0.0.1 5555 443\r\n":  "!",
	"PROXY TCP4 203.0.113.7 10.0.0.1 99999 443\r\n": "!",
	"PROXY TCP4 203.0.113.7 10.0.0.1 5555\r\n":      "!",
	"PROXY TCP4  10.0.0.1 5555 443\r\n":             "!",
	"PROXY TCP4 evil.example 10.0.0.1 5555 443\r\n": "!",
	"PROXY " + strings.Repeat("x", 200) + "\r\n":    "!",
	"PROXY TCP4 203.0.113.7 10.0.0.1 5555 443":      "!",
	"GET /ws HTTP/1.1\r\n\r\n":                      "!",
	"\r\n\r\n\x00\r\nQUIX\n":                        "!",
	"":                                              "!",
}

func TestProxyHeader(t *testing.T) {
	for header, want := range proxyHeaders {
		r := strings.NewReader(header + "rest")
		if want == "!" {
			r = strings.NewReader(header)
		}
		got, err := readProxyHeader(r)
		text := ""
		switch {
		case err != nil:
			text = "!"
		case got.IsValid():
			text = got.String()
		}
		if text != want {
			t.Errorf("%q: %v, %v; want %q", header, got, err, want)
		}
		if rest, _ := io.ReadAll(r); want != "!" && string(rest) != "rest" {
			t.Errorf("%q: %q is left to read", header, rest)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	for header := range proxyHeaders {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, err := readProxyHeader(strings.NewReader(string(b)))
		if err != nil && client.IsValid() || client.Addr().Is4In6() || client.Addr().Zone() != "" {
			t.Fatalf("%v, %v", client, err)
		}
	})
}

// TestProxyListener checks who is believed, over real connections.
func TestProxyListener(t *testing.T) {
	const header = "PROXY TCP4 203.0.113.7 10.0.0.1 5555 443\r\n"
	const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, test := range []struct {
		trusted, send, want string
	}{
		{"127.0.0.0/8", header + request, "203.0.113.7:5555"},
		{"127.0.0.0/8", "PROXY UNKNOWN\r\n" + request, "127.0.0.1:"},
		{"127.0.0.0/8", request, "400 Bad Request"},
		{"10.0.0.0/8", header + request, "400 Bad Request"},
		{"10.0.0.0/8", request, "127.0.0.1:"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		logger := slog.New(slog.DiscardHandler)
		server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.RemoteAddr)
		}), httpLimits{}, logger)
		done := make(chan error, 1)
		go func() {
			done <- server.Serve(proxyListener{l, []netip.Prefix{netip.MustParsePrefix(test.trusted)}, logger})
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, test.send); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(bufio.NewReader(c))
		if !strings.Contains(string(got), test.want) {
			t.Errorf("%q, trusting %s: %q; want %q", test.send, test.trusted, got, test.want)
		}
		_ = c.Close()
		_ = server.Close()
		<-done
	}
}
