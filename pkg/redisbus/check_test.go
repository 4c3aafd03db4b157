package redisbus

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	srv := server(t)
	warnings := func() string {
		var out bytes.Buffer
		parse(t, srv.URL()).Check(t.Context(), slog.New(slog.NewTextHandler(&out, nil)))
		return out.String()
	}
	if got := warnings(); got != "" {
		t.Errorf("a Redis with its defaults: %s", got)
	}
	must(t, srv.Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	must(t, srv.Client().ConfigSet(t.Context(), "client-output-buffer-limit", "pubsub 1mb 1mb 60").Err())
	got := warnings()
	if n := strings.Count(got, "level=WARN"); n != 2 || !strings.Contains(got, "noeviction, not allkeys-lru") ||
		!strings.Contains(got, "pubsub 1048576 1048576 60") {
		t.Errorf("got %s", got)
	}
	must(t, srv.Client().Do(t.Context(), "acl", "setuser", "default", "-config").Err())
	if got := warnings(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "noeviction") {
		t.Errorf("settings that may not be seen are a problem: %s", got)
	}
	must(t, srv.Client().Do(t.Context(), "acl", "setuser", "default", "-info").Err())
	if got := warnings(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "INFO") {
		t.Errorf("without INFO: %s", got)
	}
}
