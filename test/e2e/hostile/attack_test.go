package hostile

import (
	"os"
	"slices"
	"testing"
	"time"
)

// attack is one bad input and what must come of it.
type attack struct {
	name string
	// slow attacks wait for a timeout of the gateway. They run at the same time.
	slow bool
	run  func(t *testing.T, w *world)
}

// family is a kind of attacks.
type family struct {
	name    string
	attacks []attack
}

func families() []family {
	return []family{
		{"frames", frames()},
		{"compressed", compressed()},
		{"handshakes", handshakes()},
		{"credentials", credentials()},
		{"names", names()},
		{"json", texts()},
		{"forwarded", forwarded()},
		{"backplane", batches()},
	}
}

// minAttacks is how many named bad inputs there have to be.
const minAttacks = 120

// TestAttacksAreCounted wants enough attacks in all, some in every family, and no
// two of one name.
func TestAttacksAreCounted(t *testing.T) {
	total := 0
	for _, f := range families() {
		seen := map[string]bool{}
		for _, a := range f.attacks {
			if a.name == "" || a.run == nil || seen[a.name] {
				t.Errorf("%s: the attack %q is incomplete or there twice", f.name, a.name)
			}
			seen[a.name] = true
		}
		if len(f.attacks) < 8 {
			t.Errorf("%s: only %d attacks", f.name, len(f.attacks))
		}
		t.Logf("%s: %d", f.name, len(f.attacks))
		total += len(f.attacks)
	}
	if total < minAttacks {
		t.Errorf("%d attacks; want %d or more", total, minAttacks)
	}
}

// What an attack, and all together, may take from a gateway. Measured figures are
// far below; these are for busy machines and the race detector of the test.
const (
	maxCPU        = 2 * time.Second // of one attack, slow ones apart
	maxMemory     = 128 << 20       // growth of the resident set, in bytes
	maxGoroutines = 500             // growth
	maxLatency    = 2 * time.Second // of the ward's messages, 99 of 100
	minExchanges  = 100             // of the ward
)

// TestAttacks runs every attack, beside a client that must notice nothing.
func TestAttacks(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	w := newWorld(t)
	ward := w.protect(t)
	gauges := make([]*gauge, len(w.gateways()))
	for i, g := range w.gateways() {
		gauges[i] = w.watch(t, g)
	}
	type cost struct {
		name string
		cpu  time.Duration
	}
	var costs []cost
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) {
			for _, a := range f.attacks {
				t.Run(a.name, func(t *testing.T) {
					if a.slow {
						t.Parallel()
						a.run(t, w)
						return
					}
					before := w.cpu(t)
					a.run(t, w)
					used := w.cpu(t) - before
					costs = append(costs, cost{f.name + "/" + a.name, used})
					if used > maxCPU {
						t.Errorf("the gateways spent %v of CPU time on this", used)
					}
				})
			}
		})
	}
	slices.SortFunc(costs, func(a, b cost) int { return int(b.cpu - a.cpu) })
	for _, c := range costs[:min(5, len(costs))] {
		t.Logf("CPU time %v for %s", c.cpu, c.name)
	}
	ward.check(t)
	for _, g := range gauges {
		g.check(t)
	}
	for _, e := range w.probe.Seen() {
		if e.Event == "violation" {
			t.Errorf("the service saw a violation: %+v", e)
		}
	}
}
