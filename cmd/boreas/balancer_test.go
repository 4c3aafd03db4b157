package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBalancerTakesTurns(t *testing.T) {
	var addresses []string
	for i := range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%d %s", i, r.Host)
		}))
		defer s.Close()
		addresses = append(addresses, strings.TrimPrefix(s.URL, "http://"))
	}
	front := httptest.NewServer(newBalancer(addresses, slog.New(slog.DiscardHandler)))
	defer front.Close()
	for i := range 6 {
		resp, err := http.Get(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		// The gateway sees the host that the client asked for.
		if want := fmt.Sprintf("%d %s", i%3, strings.TrimPrefix(front.URL, "http://")); string(body) != want {
			t.Errorf("request %d: got %q, want %q", i, body, want)
		}
	}
}

func TestBalancerPassesOver(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") }))
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	addresses := []string{strings.TrimPrefix(gone.URL, "http://"), strings.TrimPrefix(s.URL, "http://")}
	for range 2 {
		w := httptest.NewRecorder()
		newBalancer(addresses, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if w.Code != http.StatusOK || w.Body.String() != "here" {
			t.Errorf("with one of two away: %d %s", w.Code, w.Body)
		}
	}
}

func TestServerRefusesLongHeaders(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTPServer(http.NotFoundHandler(), httpLimits{}, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		_ = s.Close()
		<-served
	}()
	for size, want := range map[int]int{8 << 10: http.StatusNotFound, 32 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", size))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a header of %d bytes: %s, want %d", size, resp.Status, want)
		}
	}
}
