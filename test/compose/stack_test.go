package compose

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
)

const (
	root    = "../.." // the repository, seen from this package
	project = "boreas-compose-test"

	// patience bounds each wait, on a machine that does other things too.
	patience = 2 * time.Minute
)

// output runs a command and returns what it wrote to its standard output. Its error
// has the rest.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// stack is the project on the engine.
type stack struct {
	t     *testing.T
	ctx   context.Context
	port  int
	env   []string // of docker compose
	began time.Time
}

// unable ends a test that could not begin because of err. Where there was no time, that
// says nothing about what is tested.
func unable(ctx context.Context, t *testing.T, err error) {
	t.Helper()
	if ctx.Err() != nil {
		t.Skipf("NOT TESTED: this machine cannot make the images within %v: %v", limit, err)
	}
	t.Fatal(err)
}

// newStack finds or installs Docker Compose, and makes the images available.
func newStack(ctx context.Context, t *testing.T) *stack {
	t.Helper()
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, ctx: ctx, port: port}
	s.env = append(os.Environ(), "PUBLIC_PORT="+strconv.Itoa(port), "PROMETHEUS_PORT=0", "BOREAS_COMPOSE_NOFILE="+strconv.Itoa(wantedFiles))
	packages := &debian{}
	if exec.CommandContext(ctx, "docker", "compose", "version").Run() != nil {
		s.env = append(s.env, "DOCKER_CONFIG="+composeConfig(ctx, t, packages))
	}
	t.Log(s.compose("version"))

	s.down() // what an aborted run has left
	withdraw := func() {
		s.cleanly(func(ctx context.Context) error { return withdrawStandIns(ctx, t) })
	}
	withdraw()
	t.Cleanup(func() {
		s.cleanly(func(ctx context.Context) error {
			_, err := output(exec.CommandContext(ctx, "docker", "image", "rm", "--force", project, project+"-chat"))
			return err
		})
		withdraw()
	})
	t.Cleanup(func() {
		if t.Failed() {
			s.cleanly(func(ctx context.Context) error {
				log, err := s.command(ctx, "--profile=*", "logs", "--no-color", "--timestamps", "--tail=60").CombinedOutput()
				t.Logf("%s", log)
				return err
			})
		}
		s.down()
	})

	images := append(baseImages(t), strings.Fields(s.compose("--profile=cluster", "--profile=observability", "config", "--images"))...)
	provide(ctx, t, packages, slices.DeleteFunc(images, func(image string) bool { return strings.HasPrefix(image, project) }))
	s.limitFiles()
	start := time.Now()
	if _, err := output(s.command(ctx, "build")); err != nil {
		unable(ctx, t, err)
	}
	t.Logf("built the images in %v", time.Since(start).Round(100*time.Millisecond))
	return s
}

// wantedFiles is the highest ulimits.nofile of docker-compose.yml.
const wantedFiles = 262144

// limitFiles lowers ulimits.nofile to what the engine may give.
func (s *stack) limitFiles() {
	s.t.Helper()
	image := baseImages(s.t)[0]
	wanted := fmt.Sprintf("--ulimit=nofile=%d", wantedFiles)
	if exec.CommandContext(s.ctx, "docker", "run", "--rm", wanted, image, "true").Run() == nil {
		return
	}
	has := s.docker("run", "--rm", image, "sh", "-c", "ulimit -Hn")
	s.t.Logf("this engine cannot give a container more than %s file descriptors", has)
	s.env = append(s.env, "BOREAS_COMPOSE_NOFILE="+has)
}

func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	files := []string{"compose", "--ansi=never", "-p", project, "-f", "docker-compose.yml", "-f", "test/compose/override.yml"}
	cmd := exec.CommandContext(ctx, "docker", append(files, args...)...)
	cmd.Dir, cmd.Env = root, s.env
	return cmd
}

// compose runs docker compose.
func (s *stack) compose(args ...string) string {
	s.t.Helper()
	out, err := output(s.command(s.ctx, args...))
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// dockerTry runs docker.
func (s *stack) dockerTry(args ...string) (string, error) {
	return output(exec.CommandContext(s.ctx, "docker", args...))
}

// docker runs docker, which must succeed.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	out, err := s.dockerTry(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// up brings services up and waits until they are well.
func (s *stack) up(args ...string) {
	s.t.Helper()
	start := time.Now()
	s.compose(append([]string{"up", "--detach", "--wait", "--wait-timeout=240"}, args...)...)
	s.t.Logf("up %s: %v", strings.Join(args, " "), time.Since(start).Round(100*time.Millisecond))
}

// host is where the load balancer listens.
func (s *stack) host() string { return "localhost:" + strconv.Itoa(s.port) }

// get asks for a URL until it is answered with 200.
func (s *stack) get(url string) string {
	s.t.Helper()
	var body []byte
	s.eventually(func() error {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		body, err = io.ReadAll(resp.Body)
		return err
	})
	return string(body)
}

// eventually polls check until it succeeds, which it must.
func (s *stack) eventually(check func() error) {
	s.t.Helper()
	if err := s.wait(check); err != nil {
		s.t.Fatal(err)
	}
}

// wait polls check until it succeeds, or returns its last error.
func (s *stack) wait(check func() error) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", patience, err)
		}
	}
}

// containers returns the ids of a service's running containers; of all services
// without a name.
func (s *stack) containers(service ...string) []string {
	s.t.Helper()
	return strings.Fields(s.compose(append([]string{"--profile=*", "ps", "--quiet"}, service...)...))
}
