package hostile

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/test/cluster"
)

// ward is a client that behaves.
type ward struct {
	stop func()

	// readable after stop
	latencies []time.Duration
	problem   string
}

// pause is the time between two messages of the ward.
const pause = 5 * time.Millisecond

// protect starts a ward beside the attacks on the gateway open.
func (w *world) protect(t *testing.T) *ward {
	t.Helper()
	c := dial(t, w.open, "")
	c.upgrade()
	ended, done := make(chan struct{}), make(chan struct{})
	v := &ward{}
	v.stop = sync.OnceFunc(func() { close(ended); <-done })
	t.Cleanup(v.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		sent := 0 // what the service has sent
		for n := 1; v.problem == ""; n++ {
			start := time.Now()
			_ = c.SetDeadline(start.Add(patience))
			c.say(fmt.Sprintf(`{"path":"/seq","id":"%d","data":{"n":%d}}`, n, n))
			sent++
			v.problem = c.expect(strconv.Itoa(n), n, sent)
			v.latencies = append(v.latencies, time.Since(start))
			if n%3 == 0 && v.problem == "" {
				sent++
				v.problem = c.expect(strconv.Itoa(n), 0, sent)
			}
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
		t.Errorf("the client that behaves: %s", v.problem)
	}()
	return v
}

// expect reads the next message for the ward and returns what is wrong with it.
func (c *conn) expect(id string, n, sent int) string {
	for {
		op, payload, err := c.frame()
		if err != nil {
			return fmt.Sprintf("message %d: %v", sent, err)
		}
		if op == opPing {
			c.write(frame(final|opPong, string(payload)))
			continue
		}
		var got struct {
			ID   string
			Data struct{ N, S int }
		}
		if op != opText || json.Unmarshal(payload, &got) != nil || got.ID != id || got.Data.N != n || got.Data.S != sent {
			return fmt.Sprintf("got %x %s; want message %d", op, payload, sent)
		}
		return ""
	}
}

// check ends the ward and reports what it noticed of the attacks.
func (v *ward) check(t *testing.T) {
	t.Helper()
	v.stop()
	slices.Sort(v.latencies)
	n := len(v.latencies)
	if n < minExchanges {
		t.Fatalf("the client that behaves exchanged only %d messages", n)
	}
	p99 := v.latencies[n*99/100]
	t.Logf("the client that behaves: %d messages, p50 %v, p99 %v, max %v", n, v.latencies[n/2], p99, v.latencies[n-1])
	if p99 > maxLatency {
		t.Errorf("the client that behaves waited %v for 1 of 100 answers", p99)
	}
}

// gauge watches what a gateway takes.
type gauge struct {
	w    *world
	g    *cluster.Gateway
	stop func()

	memory, goroutines int // before the attacks

	// readable after stop
	mostMemory, mostGoroutines int
	err                        error
}

// watch starts to watch a gateway.
func (w *world) watch(t *testing.T, g *cluster.Gateway) *gauge {
	t.Helper()
	m := &gauge{w: w, g: g}
	var err error
	if m.memory, m.goroutines, err = m.read(t); err != nil {
		t.Fatal(err)
	}
	ended, done := make(chan struct{}), make(chan struct{})
	m.stop = sync.OnceFunc(func() { close(ended); <-done })
	t.Cleanup(m.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for m.err == nil {
			memory, goroutines, err := m.read(t)
			m.mostMemory, m.mostGoroutines, m.err = max(m.mostMemory, memory), max(m.mostGoroutines, goroutines), err
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	}()
	return m
}

// read returns the resident set in bytes and the number of goroutines.
func (m *gauge) read(t *testing.T) (memory, goroutines int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.g.PID()))
	if err != nil {
		return 0, 0, err
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscanf(rss, "%d kB", &memory); err != nil {
		return 0, 0, fmt.Errorf("VmRSS: %w", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.g.Internal+"/debug/pprof/goroutine?debug=1", http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+internalKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &goroutines); err != nil {
		return 0, 0, fmt.Errorf("goroutines: %w", err)
	}
	return memory << 10, goroutines, nil
}

// check reports what the attacks took from the gateway.
func (m *gauge) check(t *testing.T) {
	t.Helper()
	m.stop()
	if m.err != nil {
		t.Errorf("%s: %v", m.g.Name, m.err)
	}
	t.Logf("%s: resident set %d MiB, at most %d MiB; goroutines %d, at most %d", m.g.Name,
		m.memory>>20, m.mostMemory>>20, m.goroutines, m.mostGoroutines)
	if grown := m.mostMemory - m.memory; grown > maxMemory {
		t.Errorf("%s: the resident set grew by %d MiB", m.g.Name, grown>>20)
	}
	if grown := m.mostGoroutines - m.goroutines; grown > maxGoroutines {
		t.Errorf("%s: %d goroutines more", m.g.Name, grown)
	}
	// What is left when the attackers are gone.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		_, now, err := m.read(t)
		if err == nil && now <= m.goroutines+10 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("%s: %d goroutines are left of %d (%v)", m.g.Name, now, m.goroutines, err)
			return
		}
	}
}
