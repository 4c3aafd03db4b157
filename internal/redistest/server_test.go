package redistest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerAnswersOnBothAddresses(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TCP: true, Password: "s3cret"})
	for _, u := range []string{s.URL(), s.TCPURL()} {
		o, err := redis.ParseURL(u)
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(o)
		if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Errorf("%s: %v", u, err)
		}
		_ = c.Close()
	}
	if got := s.Client().Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("Client: got %q", got)
	}
}

func TestKillAndRestart(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TCP: true})
	before := s.PID()
	s.Client().Set(t.Context(), "k", "v", 0)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answered")
	}
	if s.PID() != 0 {
		t.Error("a killed server has a process id")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("after the restart: got %v, want an empty server", err)
	}
	if s.PID() == before {
		t.Error("the process is the same")
	}
}

func TestStopFreezes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := redis.NewClient(&redis.Options{
		Network: "unix", Addr: strings.TrimPrefix(s.URL(), "unix://"), ContextTimeoutEnabled: true, MaxRetries: -1,
	})
	defer c.Close()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a stopped server answered")
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRunReportsWhyTheServerDidNotStart(t *testing.T) {
	_, err := redistest.Run(t.Context(), redistest.Config{Args: []string{"--no-such-option", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("got %v, want the server's own message", err)
	}
	t.Setenv("PATH", "")
	_, err = redistest.Run(t.Context(), redistest.Config{})
	if err == nil || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("got %v, want how to install it", err)
	}
}

func TestCloseRemovesTheFiles(t *testing.T) {
	s, err := redistest.Run(t.Context(), redistest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(strings.TrimPrefix(s.URL(), "unix://")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the socket gone", err)
	}
}
