package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Programs are the compiled programs.
type Programs struct {
	Boreas string   // cmd/boreas
	Chat   string   // examples/chat
	Probe  []string // an instance of test/probe, with leading arguments
	Env    []string // further environment of gateways and instances, NAME=value
}

// Build compiles the programs into dir. flags are further flags of go build.
func Build(ctx context.Context, dir string, flags ...string) (Programs, error) {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	const module = "github.com/boreas-ws/boreas/"
	args = append(args, module+"cmd/boreas", module+"examples/chat", module+"test/probe/instance")
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return Programs{
		Boreas: filepath.Join(dir, "boreas"),
		Chat:   filepath.Join(dir, "chat"),
		Probe:  []string{filepath.Join(dir, "instance")},
	}, nil
}
