package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
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
