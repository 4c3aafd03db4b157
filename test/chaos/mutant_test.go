package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/test/cluster"
)

// TestMutants breaks Boreas where the oracles must notice it. One program holds all
// the damage (build tag boreas_mutants); the environment chooses. The
// same faults do no harm without damage.
func TestMutants(t *testing.T) {
	if os.Getenv("BOREAS_SOAK") == "" {
		t.Skip("builds a program of its own: `make soak` runs it")
	}
	dir := t.TempDir()
	if _, err := cluster.Build(t.Context(), dir, "-tags", "boreas_mutants"); err != nil {
		t.Fatal(err)
	}
	boreas := filepath.Join(dir, "boreas")
	mutants := []struct {
		name  string
		fault int
		proof func(Row) bool
	}{
		{name: ""}, // no damage, all faults below
		{"dedupe", 32, func(r Row) bool { return r.Duplicated+r.Lost > 0 }},
		{"nack", 31, func(r Row) bool { return strings.Contains(r.Verdict(), "not all sessions moved") }},
		{"reap", 20, func(r Row) bool { return strings.Contains(r.Verdict(), "registry: ") }},
		{"fence", 33, func(r Row) bool { return strings.Contains(r.Verdict(), "which has no lease") }},
	}
	for _, m := range mutants {
		faults := []int{m.fault}
		if m.name == "" {
			faults = nil
			for _, other := range mutants[1:] {
				faults = append(faults, other.fault)
			}
		}
		t.Run("mutant "+m.name, func(t *testing.T) {
			report, err := Run(t.Context(), Config{
				Programs: cluster.Programs{Boreas: boreas, Probe: []string{boreas, "chaos-instance"}, Env: []string{"BOREAS_MUTANT=" + m.name}},
				Seed:     1, Rounds: 1, Sessions: 12, Faults: faults, patience: 15 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			var table bytes.Buffer
			if err := report.WriteTable(&table); err != nil {
				t.Fatal(err)
			}
			t.Log("\n" + table.String())
			switch {
			case m.name == "" && !report.OK():
				t.Error("nothing is broken, but the oracles say so")
			case m.name != "" && report.OK():
				t.Error("the oracles did not notice")
			case m.name != "" && !m.proof(report.Rows[0]):
				t.Error("the oracles noticed something else")
			}
		})
	}
}
