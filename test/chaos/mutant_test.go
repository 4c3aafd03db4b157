package chaos

import (
	"bytes"
	"os"
	"os/exec"
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
		name   string
		fault  int
		proof  func(Row) bool
		rounds int // default: 1
	}{
		{name: ""}, // no damage, all faults below
		{name: "dedupe", fault: 32, proof: func(r Row) bool { return r.Duplicated > 0 && r.Lost == 0 }},
		{name: "nack", fault: 31, proof: func(r Row) bool { return strings.Contains(r.Verdict(), "not all sessions moved") }},
		{name: "reap", fault: 20, proof: func(r Row) bool { return strings.Contains(r.Verdict(), "registry: ") }},
		{name: "fence", fault: 33, proof: func(r Row) bool { return strings.Contains(r.Verdict(), "which has no lease") }},
		{name: "mute", fault: 11, proof: func(r Row) bool { return r.Lost > 0 && strings.Contains(r.Verdict(), "gets no pushes of probe") }},
		{name: "marks", fault: 10, proof: func(r Row) bool { return r.Lost > 0 && strings.Contains(r.Verdict(), "nobody was told") }, rounds: 40}, // some in ten are noticed
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
				Seed:     1, Rounds: max(m.rounds, 1), Sessions: 12, Faults: faults, patience: 15 * time.Second,
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
	t.Run("the command", func(t *testing.T) {
		command := exec.CommandContext(t.Context(), boreas, "chaos", "--faults", "11", "--rounds", "1", "--sessions", "12")
		command.Env = append(os.Environ(), "BOREAS_MUTANT=mute")
		var stdout, stderr bytes.Buffer
		command.Stdout, command.Stderr = &stdout, &stderr
		err := command.Run()
		if command.ProcessState.ExitCode() != 1 || !strings.Contains(stdout.String(), "FAILED: ") || !strings.Contains(stderr.String(), "found a violation") {
			t.Errorf("it ended with %v:\n%s\n%s", err, &stdout, &stderr)
		}
	})
}
