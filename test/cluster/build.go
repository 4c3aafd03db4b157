package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Programs are the paths of the compiled programs.
type Programs struct {
	Boreas string // cmd/boreas
	Chat   string // examples/chat
	Probe  string // test/probe
}

// Build compiles the programs into dir, with the race detector if race is set.
func Build(ctx context.Context, dir string, race bool) (Programs, error) {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	const module = "github.com/boreas-ws/boreas/"
	args = append(args, module+"cmd/boreas", module+"examples/chat", module+"test/probe")
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return Programs{
		Boreas: filepath.Join(dir, "boreas"),
		Chat:   filepath.Join(dir, "chat"),
		Probe:  filepath.Join(dir, "probe"),
	}, nil
}
