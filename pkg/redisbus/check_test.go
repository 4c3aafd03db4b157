package redisbus

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// said returns the lines that Check logs.
func said(t *testing.T, url string) (lines []string) {
	t.Helper()
	var out bytes.Buffer
	parse(t, url).Check(t.Context(), slog.New(slog.NewTextHandler(&out, nil)))
	for line := range strings.Lines(out.String()) {
		lines = append(lines, line)
	}
	return lines
}

// TestCheck: each thing that is wrong with a server, alone, is told in one line, which
// says what to do.
func TestCheck(t *testing.T) {
	defaults := [][]any{
		{"config", "set", "maxmemory-policy", "noeviction", "client-output-buffer-limit", "pubsub 32mb 8mb 60"},
		{"acl", "setuser", "default", "+@all"},
	}
	srv := server(t)
	admin := srv.Client()
	for _, tc := range []struct {
		name string
		do   [][]any
		want []string // in the one line; none: silence
	}{
		{name: "defaults"},
		{"eviction", [][]any{{"config", "set", "maxmemory-policy", "allkeys-lru"}}, []string{"WARN", "noeviction, not allkeys-lru"}},
		{"a hard limit", [][]any{{"config", "set", "client-output-buffer-limit", "pubsub 16mb 8mb 60"}},
			[]string{"WARN", "pubsub 33554432 8388608 60", "pubsub 16777216 8388608 60"}},
		{"a soft limit", [][]any{{"config", "set", "client-output-buffer-limit", "pubsub 32mb 1mb 60"}},
			[]string{"WARN", "pubsub 33554432 1048576 60"}},
		{"no limits", [][]any{{"config", "set", "client-output-buffer-limit", "pubsub 0 0 0"}}, nil},
		{"limits of others", [][]any{{"config", "set", "client-output-buffer-limit", "normal 1mb 1mb 60 replica 1mb 1mb 60"}}, nil},
		{"no CONFIG", [][]any{
			{"config", "set", "client-output-buffer-limit", "pubsub 1mb 1mb 60"}, // cannot be seen
			{"acl", "setuser", "default", "-config"},
		}, []string{"INFO", "client-output-buffer-limit is not checked", "CONFIG GET"}},
		{"no INFO", [][]any{{"acl", "setuser", "default", "-info"}}, []string{"WARN", "call INFO", "failover"}},
	} {
		for _, command := range slices.Concat(defaults, tc.do) {
			must(t, admin.Do(t.Context(), command...).Err())
		}
		got := said(t, srv.URL())
		if len(tc.want) == 0 && len(got) > 0 || len(tc.want) > 0 && len(got) != 1 {
			t.Errorf("%s: %q", tc.name, got)
			continue
		}
		for _, want := range append(tc.want, srv.URL()) {
			if len(got) > 0 && !strings.Contains(got[0], want) {
				t.Errorf("%s: %q does not contain %q", tc.name, got[0], want)
			}
		}
		must(t, admin.Do(t.Context(), "acl", "setuser", "default", "+@all").Err()) // to set others
	}

	must(t, admin.Do(t.Context(), "config", "set", "maxmemory-policy", "allkeys-lru",
		"client-output-buffer-limit", "pubsub 1mb 1mb 60").Err())
	if got := said(t, srv.URL()); len(got) != 2 {
		t.Errorf("two things are wrong: %q", got)
	}
}

// TestCheckVersion: of a server that shows an old version, the version is told.
func TestCheckVersion(t *testing.T) {
	client := parse(t, server(t).URL()).NewClient(t.Context())
	defer func() { must(t, client.Close()) }()
	info, err := client.Info(t.Context()).Result()
	must(t, err)
	_, rest, found := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	if !found {
		t.Fatalf("INFO without a version: %s", info)
	}
	for shown, want := range map[string]string{
		version:     "",
		"7.0.0":     "",
		"7.2.4-rc1": "",
		"8":         "",
		"10.0.1":    "",
		"6.2.14":    "Redis 6.2.14 is too old; version 7 or later is needed",
		"5":         "Redis 5 is too old; version 7 or later is needed",
		"unstable":  "", // cannot be told
	} {
		s := sight{info: strings.ReplaceAll(info, "redis_version:"+version, "redis_version:"+shown)}
		if got := strings.Join(s.problems(), "\n"); got != want {
			t.Errorf("%s: %q; want %q", shown, got, want)
		}
	}
}

// testCheckAll: what is wrong with all masters of a group is told once, as is what is
// wrong with one.
func testCheckAll(t *testing.T, url string, servers []*redistest.Server) {
	policy := func(s *redistest.Server, to string) {
		must(t, s.Client().ConfigSet(t.Context(), "maxmemory-policy", to).Err())
	}
	if got := said(t, url); len(got) > 0 {
		t.Errorf("servers with their defaults: %q", got)
	}
	for i, s := range servers {
		policy(s, "allkeys-lru")
		defer policy(s, "noeviction")
		if got := said(t, url); len(got) != 1 || !strings.Contains(got[0], "noeviction, not allkeys-lru") {
			t.Errorf("%d servers evict: %q", i+1, got)
		}
	}
}
