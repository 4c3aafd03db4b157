package compose

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// cleanly runs what must happen although the test's context may have ended.
func (s *stack) cleanly(f func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		s.t.Error(err)
	}
}

const (
	// cleanTimeout bounds each tear-down.
	cleanTimeout = 3 * time.Minute
	// cleanTries is how often what is still there is removed again: engines may be
	// a moment behind with the end of a container or of its network.
	cleanTries = 5
)

// down removes all that the project has on the engine, and checks that.
func (s *stack) down() {
	s.t.Helper()
	s.cleanly(func(ctx context.Context) error {
		_, err := output(s.command(ctx, "--profile=*", "down", "--volumes", "--remove-orphans", "--timeout=3"))
		for range cleanTries {
			var left string
			if left, err = remove(ctx, s.t, err); err == nil && left == "" {
				return nil
			}
			if err == nil {
				err = errors.New("the engine still has " + left)
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return err
	})
}

// kinds are what a project has on an engine, and how it is removed, in that order.
var kinds = []struct{ list, remove string }{
	{"container ls --all", "container rm --force --volumes"},
	{"network ls", "network rm"},
	{"volume ls", "volume rm --force"},
}

// remove removes by its label what docker compose has left behind, for the reason
// that it gave, and returns what is left even then.
func remove(ctx context.Context, t *testing.T, reason error) (left string, err error) {
	t.Helper()
	docker := func(words string, more ...string) (string, error) {
		return output(exec.CommandContext(ctx, "docker", append(strings.Fields(words), more...)...))
	}
	const mine = "--quiet --filter label=com.docker.compose.project=" + project
	for _, kind := range kinds {
		ids, err := docker(kind.list + " " + mine)
		if err != nil {
			return "", err
		}
		if ids == "" {
			continue
		}
		t.Logf("docker compose down (%v) has left behind, of docker %s: %s", reason, kind.list, strings.Fields(ids))
		if kind.list == "network ls" {
			// An engine may have lost track of a container that is gone.
			for network := range strings.FieldsSeq(ids) {
				ends, err := docker("network inspect --format", "{{range .Containers}}{{.Name}} {{end}}", network)
				if err != nil {
					return "", err
				}
				for end := range strings.FieldsSeq(ends) {
					_, _ = docker("network disconnect --force", network, end)
				}
			}
		}
		_, failed := docker(kind.remove, strings.Fields(ids)...)
		if ids, err = docker(kind.list + " " + mine); err != nil {
			return "", err
		}
		if ids != "" {
			left += fmt.Sprintf("%s (docker %s): %v\n", strings.Fields(ids), kind.list, failed)
		}
	}
	return left, nil
}
