package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunServesUntilItIsStopped(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, flags{
			Redis: srv.URL(), NodeID: "chat-1", Service: "talk", OnInstanceLoss: "repin", DrainTimeout: time.Second,
		}, slog.New(slog.DiscardHandler), w)
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if want := "talk is serving as chat-1\n"; err != nil || line != want {
		t.Errorf("it says %q (%v), want %q", line, err, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestRunServesThePage(t *testing.T) {
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	address := "127.0.0.1:" + strconv.Itoa(port)
	ended := make(chan error, 1)
	missing := "unix://" + t.TempDir() + "/s" // the page does not wait for Redis
	go func() {
		ended <- run(ctx, flags{Redis: missing, Service: "chat", PageListen: address}, slog.New(slog.DiscardHandler), io.Discard)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var page []byte
	for page == nil && ctx.Err() == nil {
		if resp, err := client.Get("http://" + address + "/"); err == nil {
			page, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
	}
	if !strings.Contains(string(page), "Boreas chat") {
		t.Errorf("the page is %q", page)
	}
	taken := run(ctx, flags{Redis: missing, Service: "chat", PageListen: address}, slog.New(slog.DiscardHandler), io.Discard)
	if taken == nil || !strings.Contains(taken.Error(), "--page-listen") {
		t.Errorf("a second one at the same address ended with %v", taken)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	err := run(t.Context(), flags{Redis: srv.URL(), Service: "Not A Slug"}, slog.New(slog.DiscardHandler), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "Not A Slug") {
		t.Errorf("it ended with %v", err)
	}
	if err := run(t.Context(), flags{Redis: "http://x"}, slog.New(slog.DiscardHandler), io.Discard); err == nil {
		t.Error("it runs on http")
	}
}

func TestRunIsStoppedWhileRedisIsAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	missing := "unix://" + t.TempDir() + "/s"
	if err := run(ctx, flags{Redis: missing, Service: "chat"}, slog.New(slog.DiscardHandler), io.Discard); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
