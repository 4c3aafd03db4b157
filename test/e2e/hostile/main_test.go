package hostile

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/boreas-ws/boreas/test/cluster"
)

// Keys of the attacked system.
const (
	internalKey  = "the internal key of the tests"
	backplaneKey = "the backplane key of the tests"
)

// programs are built once, before the tests.
var programs cluster.Programs

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "boreas-hostile")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if programs, err = cluster.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programs.Env = []string{"BOREAS_INTERNAL_KEY=" + internalKey, "BOREAS_BACKPLANE_KEY=" + backplaneKey}
	return m.Run()
}
