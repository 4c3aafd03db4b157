package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
)

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"redis://localhost:6379":                           "redis://localhost:6379",
		"redis://user:hunter2@localhost":                   "redis://user:xxxxx@localhost",
		"redis://:hunter2@localhost/1":                     "redis://:xxxxx@localhost/1",
		"unix://:hunter2@/run/redis.sock?db=1":             "unix://:xxxxx@/run/redis.sock?db=1",
		"rediss://h?Password=hunter2&tls_ca=a.pem":         "rediss://h?Password=xxxxx&tls_ca=a.pem",
		"redis+cluster://u:hunter2@a:1,b:2":                "redis+cluster://u:xxxxx@a:1,b:2",
		"redis+sentinel://a,b/m?sentinel_password=hunter2": "redis+sentinel://a,b/m?sentinel_password=xxxxx",
		"https://h/?api_token=hunter2":                     "https://h/?api_token=xxxxx",
		"https://h/hook?code=hunter2":                      "https://h/hook?code=xxxxx",
		"redis://:hunter2%@localhost":                      "xxxxx (not a valid URL)",
	} {
		if got := redactURL(in); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"BOREAS_LISTEN", "BOREAS_NAME", "BOREAS_INTERNAL_LISTEN"}
	for in, want := range map[string]string{
		"BOREAS_LITSEN":          "BOREAS_LISTEN",
		"BOREAS_INTERNALLISTEN":  "BOREAS_INTERNAL_LISTEN",
		"BOREAS_NAMES":           "BOREAS_NAME",
		"BOREAS_REDIS_URL":       "",
		"BOREAS_SOMETHING_OTHER": "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"", "ab", 2},
		{"abc", "abd", 1}, {"abc", "abcd", 1}, {"kitten", "sitting", 3},
	} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("edits(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestParseEnvFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"A B secret":             "line 1 ",
		"A=1\n\n# x\nB secret\n": "line 4 ",
		"A=1\nB=\"secret\nC=2\n": "line 2 ",
	} {
		_, err := parseEnvFile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("parseEnvFile(%q): %v; want an error about %sand no secret", text, err, want)
		}
	}
}

func TestDialable(t *testing.T) {
	for in, want := range map[string]string{
		":9090":            "localhost:9090",
		"0.0.0.0:9090":     "localhost:9090",
		"[::]:9090":        "localhost:9090",
		"10.0.0.1:9090":    "10.0.0.1:9090",
		"host.example:909": "host.example:909",
	} {
		if got, err := dialable(in); got != want || err != nil {
			t.Errorf("dialable(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := dialable("9090"); err == nil {
		t.Error("an address without a port: no error")
	}
}

func TestReadinessOutage(t *testing.T) {
	var r readiness
	if err := r.ready(); err == nil {
		t.Error("ready before Redis has answered")
	}
	start, broken, away := time.Now(), errors.New("the gateway drains"), gateway.ErrUnreachable
	for _, step := range []struct {
		after   time.Duration
		gateway error
		ready   bool
	}{
		{0, away, false}, // it was never ready
		{time.Second, nil, true},
		{2 * time.Second, broken, false}, // no outage excuses this
		{3 * time.Second, away, true},    // Redis goes away
		{2*time.Second + outageGrace, away, true},
		{3*time.Second + outageGrace, away, false},
		{4*time.Second + outageGrace, nil, true},
		{5*time.Second + outageGrace, away, true}, // a new outage
	} {
		if err := r.judge(start.Add(step.after), step.gateway, true); (err == nil) != step.ready {
			t.Errorf("after %v: %v, want ready %v", step.after, err, step.ready)
		}
	}
}

// TestReadinessRoutes checks that a gateway that starts waits for a route, but not
// for ever, and that one which is ready stays so without one.
func TestReadinessRoutes(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		name   string
		routes [4]bool // at 0, a half, just before and at the end of the grace
		ready  [4]bool
	}{
		{"none", [4]bool{}, [4]bool{false, false, false, true}},
		{"late", [4]bool{false, true, true, true}, [4]bool{false, true, true, true}},
		{"lost", [4]bool{true, false, false, false}, [4]bool{true, true, true, true}},
	} {
		var r readiness
		for i, after := range []time.Duration{0, routeGrace / 2, routeGrace - 1, routeGrace} {
			if err := r.judge(start.Add(after), nil, test.routes[i]); (err == nil) != test.ready[i] {
				t.Errorf("%s, after %v: %v, want ready %v", test.name, after, err, test.ready[i])
			}
		}
	}
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	exited := make(chan int)
	ctx, stop := untilSignal(slog.New(slog.DiscardHandler), func(status int) { exited <- status })
	defer stop()
	kill := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	<-ctx.Done()
	select {
	case status := <-exited:
		t.Fatalf("the first signal ended the process with status %d", status)
	default:
	}
	kill()
	select {
	case status := <-exited:
		if status != 128+15 {
			t.Errorf("exit status %d, want 143", status)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second signal did not end the process")
	}
}

func TestEndAfter(t *testing.T) {
	exited := make(chan int, 1)
	ctx, signal := context.WithCancel(t.Context())
	p := &process{ctx: ctx, logger: slog.New(slog.DiscardHandler), exit: func(status int) { exited <- status }}
	p.endAfter(time.Millisecond)
	signal()
	if status := <-exited; status != exitFailure {
		t.Errorf("exit status %d, want %d", status, exitFailure)
	}
}

func TestVersionLine(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.99",
		Main:      debug.Module{Version: "v1.2.3"},
		Settings:  []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	if got, want := versionLine(info, true), "boreas v1.2.3 commit abc (modified) go1.99"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := versionLine(nil, false); !strings.Contains(got, "without") {
		t.Errorf("got %q", got)
	}
}

func TestEnvExample(t *testing.T) {
	var out, errs strings.Builder
	if status := run([]string{"config", "--example"}, nil, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	const file = "../../.env.example"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != out.String() {
		t.Error(".env.example is not what the flags say; write it again:\n\tgo run ./cmd/boreas config --example >.env.example")
	}
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`[^$]\$\{(\w+):-([^}]*)\}`).FindAllStringSubmatch(string(compose), -1) {
		line := "\n#" + m[1] + "=" + m[2] + "\n"
		if strings.HasPrefix(m[1], envPrefix) { // the file has other defaults for some settings
			line = "\n#" + m[1] + "="
		}
		if !strings.Contains(string(b), line) {
			t.Errorf(".env.example lacks %q, which docker-compose.yml reads", strings.TrimSpace(line))
		}
	}
	// The file is a valid one, and with every line switched on, it is the defaults.
	values, err := parseEnvFile(strings.ReplaceAll(string(b), "\n#"+envPrefix, "\n"+envPrefix))
	if err != nil {
		t.Fatal(err)
	}
	if values["BOREAS_DRAIN_WINDOW"] != "10s" || values["BOREAS_LISTEN"] != ":8080" {
		t.Errorf("values %v", values)
	}
}
