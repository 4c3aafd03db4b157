package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/envelope"
)

func TestMain(m *testing.M) {
	if played, err := playRole(os.Args[1:]); played {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestMessage(t *testing.T) {
	if len(message) != 128 {
		t.Errorf("the message has %d bytes", len(message))
	}
	h, err := envelope.JSON.Peek([]byte(message))
	if err != nil || string(h.Path) != "/echo" || string(h.ID) != message[idAt:idAt+idDigits] {
		t.Errorf("head %+v, error %v", h, err)
	}
	for _, reply := range []string{
		strings.Replace(message, "00000000", "00001234", 1),
		`{"id":"00001234","data":` + string(h.Data) + `}`,
	} {
		if id, err := replyID([]byte(reply)); err != nil || id != 1234 {
			t.Errorf("%s: %d, %v", reply, id, err)
		}
	}
	for _, reply := range []string{`{"id":"00001234","data":{"error":"no","code":"no_route"}}`, `{"id":"1"}`, ``} {
		if _, err := replyID([]byte(reply)); err == nil {
			t.Errorf("%s passes for a reply", reply)
		}
	}
}

func TestBareEcho(t *testing.T) {
	s := &stack{}
	defer s.stop()
	bare, err := s.bare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := measure(t.Context(), bare, shape{4, 4}, 10*time.Millisecond, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if m.rate == 0 || m.p50 == 0 || m.p99 < m.p50 {
		t.Errorf("%+v", m)
	}
	if err := bare.procs[0].collectGarbage(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := residentSet(bare.procs[0].pid); err != nil || n < 1<<20 {
		t.Errorf("resident set %d, %v", n, err)
	}
}

func TestPingPong(t *testing.T) {
	s := &stack{redis: redistest.Start(t, redistest.Config{TCP: true})}
	defer s.stop()
	procs, err := s.pong(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := pingPong(t.Context(), s.redis.TCPURL(), procs, 1024, 10*time.Millisecond, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if m.rate == 0 || m.p50 == 0 {
		t.Errorf("%+v", m)
	}
}

func TestParseMicros(t *testing.T) {
	got := parseMicros("goos: linux\npkg: github.com/boreas-ws/boreas/pkg/envelope\n" +
		"BenchmarkPeekJSON-2   \t 1726586\t       137.3 ns/op\t 932.47 MB/s\t       8 B/op\t       1 allocs/op\nPASS\n")
	want := Micro{Package: "envelope", Name: "PeekJSON", Nanos: 137.3, Bytes: 8, Allocs: 1}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
}

// TestFanout: 1000 sockets on two gateways get every one of 1000 messages a second once,
// in order. It takes a second and a half, on cores that can do that.
func TestFanout(t *testing.T) {
	s, err := newStack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	gateways, publisher, err := s.boreasFanout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := measureFanout(t.Context(), gateways, publisher, fanoutShape{sockets: 1000, rate: 1000}, 500*time.Millisecond, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f deliveries/s", m.rate)
}

// TestTimes: a ratio is a number, also when nothing was measured.
func TestTimes(t *testing.T) {
	if a, b := times(3, 2), times(1, 0); a != 1.5 || b != 1000 {
		t.Errorf("got %v and %v", a, b)
	}
}

// TestRun runs everything once, far too short to mean anything.
func TestRun(t *testing.T) {
	r, err := run(t.Context(), options{duration: 100 * time.Millisecond, warmup: 20 * time.Millisecond, rounds: 1, pairs: 1, sockets: 20, settle: 10 * time.Millisecond,
		fanout: fanoutShape{sockets: 50, rate: 100}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Loads) != 9 || len(r.Overheads) != 2 || len(r.Idle) != 4 || len(r.Fanouts) != 3 || len(r.Goals) != 9 {
		t.Errorf("%+v", r)
	}
	var text, asJSON bytes.Buffer
	if err := r.writeText(&text); err != nil {
		t.Error(err)
	}
	if err := r.writeJSON(&asJSON); err != nil || !json.Valid(asJSON.Bytes()) {
		t.Errorf("%s: %v", asJSON.String(), err)
	}
	t.Log("\n" + text.String())
}

// TestAgainst: another revision is compiled, and nothing of it stays; and a gateway and
// a service of given programs are weighed.
func TestAgainst(t *testing.T) {
	repository := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(repository, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		args = append([]string{"-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"}, args...)
		if err := execute(t.Context(), repository, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet")
	write("go.mod", "module example.com/before\n\ngo 1.24\n")
	for _, name := range []string{"cmd/boreas", "examples/chat"} {
		write(name+"/main.go", "package main\n\nfunc main() { println(\"before\") }\n")
	}
	git("add", ".")
	git("commit", "--quiet", "--message", "before")
	write("cmd/boreas/main.go", "no Go")
	dir := filepath.Join(t.TempDir(), "before")
	p, err := buildAt(t.Context(), repository, "HEAD", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{p.Boreas, p.Chat} {
		if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err != nil || string(out) != "before\n" {
			t.Errorf("%s: %q, %v", program, out, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := buildAt(t.Context(), repository, "HEAD~5", dir+"2"); err == nil {
		t.Error("a revision that is not there was compiled")
	}

	s, err := newStack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	same := func() (*target, error) { return s.release(t.Context(), "same", s.programs) }
	all, err := compare(t.Context(), s, options{duration: 100 * time.Millisecond, warmup: 20 * time.Millisecond, pairs: 2}, "same", shapes, same, same)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		if c.Connections != shapes[i].conns || c.Window != shapes[i].window || c.Pairs != 2 {
			t.Errorf("%+v", c)
		}
	}
	var text bytes.Buffer
	if err := (&Report{Against: all}).writeText(&text); err != nil || !strings.Contains(text.String(), "before") {
		t.Errorf("%s: %v", text.String(), err)
	}
}
