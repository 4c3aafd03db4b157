package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// TestSlowHandshakes: whatever a client sends byte by byte or not at all before its
// request is complete, the connection ends with the timeout, which bytes do not move.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	cert, err := redistest.NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTPServer(http.NotFoundHandler(), httpLimits{timeout: 300 * time.Millisecond}, slog.New(slog.DiscardHandler))
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(plain) }()
	go func() { _ = s.Serve(secure) }()
	t.Cleanup(func() { _ = s.Close() })
	for _, tt := range []struct {
		name string
		at   net.Listener
		send string
	}{
		{"no word", plain, ""},
		{"a request line", plain, "GET /" + strings.Repeat("x", 10_000)},
		{"a header", plain, "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("x", 10_000)},
		{"a body", plain, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10_000)},
		{"no TLS handshake", secure, ""},
		{"half a TLS record", secure, "\x16\x03\x01\x40\x00" + strings.Repeat("\x01", 10_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", tt.at.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			at := strings.LastIndexAny(tt.send, "\n\x00") + 1 // so far at once, and then byte by byte
			_, _ = io.WriteString(c, tt.send[:at])            // what follows tells
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, c)
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			over := time.After(30 * time.Second) // long before all bytes are sent
			for ; ; at++ {
				select {
				case <-tick.C:
					if at < len(tt.send) {
						_, _ = io.WriteString(c, tt.send[at:at+1]) // fails at the end
					}
				case <-ended:
					return
				case <-over:
					t.Fatalf("the connection is still held after %d bytes", at)
				}
			}
		})
	}
}
