package hostile

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/test/cluster"
)

// Keys of the attacked system.
const (
	internalKey  = "the internal key of the tests"
	backplaneKey = "the backplane key of the tests"
)

// programs are built once, before the tests.
var programs = cluster.Programs{Env: []string{"BOREAS_INTERNAL_KEY=" + internalKey, "BOREAS_BACKPLANE_KEY=" + backplaneKey}}

func TestMain(m *testing.M) {
	os.Exit(cluster.Main(m, &programs, func() error { return goleak.Find() }))
}
