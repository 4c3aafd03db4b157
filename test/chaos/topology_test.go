package chaos

import (
	"bytes"
	"testing"

	"github.com/boreas-ws/boreas/test/cluster"
)

// A short, seeded run under sentinels and in a cluster.
func TestShortRunTopologies(t *testing.T) {
	programs, err := cluster.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Config{
		Programs: programs, Seed: 1, Rounds: 1, Sessions: 12, Faults: []int{13, 17, 18, 19},
	})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if !report.OK() {
		t.Error("a promise was broken")
	}
}
