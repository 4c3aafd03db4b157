package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/boreas-ws/boreas/test/cluster"
)

// against weighs this program against the one at another revision: what a gateway and
// an instance of examples/chat cost.
func against(ctx context.Context, s *stack, o options) ([]Comparison, error) {
	before, err := buildAt(ctx, ".", o.against, filepath.Join(s.dir, "before"))
	if err != nil {
		return nil, err
	}
	return compare(ctx, s, o, "now and at "+o.against, shapes,
		func() (*target, error) { return s.release(ctx, "now", s.programs) },
		func() (*target, error) { return s.release(ctx, o.against, before) })
}

// buildAt compiles gateway and chat at a revision of the repository around a directory
// into dir.
func buildAt(ctx context.Context, repository, revision, dir string) (_ cluster.Programs, err error) {
	source := dir + "-source"
	if err := execute(ctx, repository, "git", "worktree", "add", "--detach", source, revision); err != nil {
		return cluster.Programs{}, err
	}
	defer func() {
		err = errors.Join(err, execute(context.WithoutCancel(ctx), repository, "git", "worktree", "remove", "--force", source))
	}()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return cluster.Programs{}, err
	}
	p := cluster.Programs{Boreas: filepath.Join(dir, "boreas"), Chat: filepath.Join(dir, "chat")}
	return p, execute(ctx, source, "go", "build", "-o", dir, "./cmd/boreas", "./examples/chat")
}

func execute(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

// release starts a gateway and an instance of the chat service of programs.
func (s *stack) release(ctx context.Context, name string, programs cluster.Programs) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.systems++
	namespace := fmt.Sprintf("bench%d", s.systems)
	chat, err := cluster.Start("chat", programs.Chat, nil, "--redis", s.redis.TCPURL(), "--namespace", namespace)
	if err != nil {
		return nil, err
	}
	s.started(chat)
	return s.gateway(ctx, name, programs, chat, "", "--namespace", namespace)
}
