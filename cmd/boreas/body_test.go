package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestBodyThatNeverComes: a request whose body is announced and not sent holds its
// connection for a while, not for ever, wherever it goes.
func TestBodyThatNeverComes(t *testing.T) {
	t.Parallel()
	const patience = 60 * time.Second
	mux := http.NewServeMux()
	mux.HandleFunc("/read", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("a body came")
		}
	})
	s := newHTTPServer(mux, httpLimits{}, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	for _, path := range []string{"/nowhere", "/read"} {
		for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
			t.Run(path+" "+length, func(t *testing.T) {
				t.Parallel()
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", path, length)
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("the connection is still held: %v", err)
				}
			})
		}
	}
}
