package cluster

import (
	"context"
	"fmt"
	"os"
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

// Main runs a package's tests (m is a *testing.M) with programs that it builds before;
// their Env stays as it is.
// leaks, such as goleak.Find, is asked after them. TestMain exits with its result.
func Main(m interface{ Run() int }, programs *Programs, leaks func() error) int {
	dir, err := os.MkdirTemp("", "boreas-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	env := programs.Env
	if *programs, err = Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programs.Env = env
	if code := m.Run(); code != 0 {
		return code
	}
	if err := leaks(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
