package doctest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// TestDocuments runs the blocks of every document, in order.
func TestDocuments(t *testing.T) {
	found := documents(t)
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "docs/operations.md", "docs/protocol.md"} {
		if len(found[name]) == 0 {
			t.Errorf("no code block in %s", name)
		}
	}
	redis := redistest.Start(t, redistest.Config{TCP: true})
	boreas := filepath.Join(t.TempDir(), "boreas")
	build(t, boreas, "./cmd/boreas")
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Run(name, func(t *testing.T) {
			d := &document{boreas: boreas, ports: map[string]string{"6379": port(redis.Addr())}}
			for _, b := range found[name] {
				d.run(t, b)
			}
			for _, p := range d.kept {
				p.stop(t)
			}
		})
	}
}

// document is the state in which a document's next block runs.
type document struct {
	boreas string            // the program
	ports  map[string]string // the real ones, by the document's
	kept   []*program        // running to the document's end
	socket string            // URL of the WebSocket for dialogues; "" until one is needed

	// patience is for how long a dialogue is tried again: none, unless the document
	// started a service, whose routes become known a moment later.
	patience time.Duration
}

// run does with a block what its language asks for.
func (d *document) run(t *testing.T, b block) {
	t.Helper()
	if steps := dialogue(b); len(steps) > 0 {
		url := d.dialogueURL(t)
		eventually(t, d.patience, func() error { return replay(t.Context(), url, b, steps) })
		return
	}
	switch b.language {
	case "go": // TestGoBlocksCompile has seen it
		if b.verb != "" {
			source, err := complete(d.local(t, b.text))
			if err != nil || !isProgram(source) {
				t.Fatalf("%s: not a whole program (%v)", b, err)
			}
			name := snippetName(b)
			bin := filepath.Join(t.TempDir(), "program")
			build(t, bin, "-overlay", overlay(t, map[string]string{name + "/main.go": source}), "./"+name)
			d.start(t, b, bin)
		}
	case "sh":
		d.shell(t, b)
	case "json":
		if !json.Valid([]byte(b.text)) {
			t.Errorf("%s: not valid JSON", b)
		}
	case "proto":
		schema, err := os.ReadFile(filepath.Join(root, "pkg/envelope/envelope.proto"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(schema), strings.TrimSpace(b.text)) {
			t.Errorf("%s: differs from pkg/envelope/envelope.proto", b)
		}
	case "text":
	default:
		t.Errorf("%s: no rule for blocks of language %q", b, b.language)
	}
}

// shell runs a block of commands.
func (d *document) shell(t *testing.T, b block) {
	t.Helper()
	switch b.verb {
	case "serves", "keeps":
		d.start(t, b, "bash", "-euo", "pipefail", "-c", d.local(t, b.text))
	case "":
		out, err := d.command(t, "bash", "-euo", "pipefail", "-c", d.local(t, b.text)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", b, err, out)
		}
	case "dry":
		for line := range strings.Lines(b.text) {
			args, _, _ := strings.Cut(line, "#")
			words := strings.Fields(args)
			if len(words) == 0 {
				continue
			}
			if isCompose(words) {
				if err := checkCompose(words); err != nil {
					t.Errorf("%s: %v", b, err)
				}
				continue
			}
			if words[0] != "make" {
				t.Errorf("%s: only make and docker compose can run dry, not %q", b, line)
				continue
			}
			if out, err := d.command(t, "make", append([]string{"-n"}, words[1:]...)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b, err, out)
			}
		}
	default:
		t.Errorf("%s: no rule for %q", b, b.verb)
	}
}

// start runs a block's program until it serves, and stops it there or at the
// document's end.
func (d *document) start(t *testing.T, b block, name string, args ...string) {
	t.Helper()
	p := startProgram(t, b.String(), d.command(t, name, args...))
	if b.argument == "" {
		d.kept = append(d.kept, p)
		d.patience = time.Minute
		return
	}
	url := d.local(t, b.argument)
	p.await(t, url)
	if b.verb == "serves" {
		p.stop(t)
		return
	}
	d.kept = append(d.kept, p)
	if strings.HasPrefix(url, "ws") {
		d.socket = url
	}
}

// dialogueURL is the WebSocket of the last program that the document keeps, or
// that of a demo of this test's own.
func (d *document) dialogueURL(t *testing.T) string {
	t.Helper()
	if d.socket == "" {
		listen := "127.0.0.1:" + freePort(t)
		p := startProgram(t, "boreas dev", d.command(t, d.boreas, "dev", "--listen", listen, "--internal-listen", "127.0.0.1:0"))
		p.await(t, "http://"+listen+"/")
		d.kept = append(d.kept, p)
		d.socket = "ws://" + listen + "/ws"
	}
	return d.socket
}

// command prepares a program in the repository's root, in a process group of its
// own. The settings of the developer do not reach it; the ports that the document
// leaves to defaults do.
func (d *document) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "BOREAS_") })
	cmd.Env = append(cmd.Env,
		d.local(t, "BOREAS_LISTEN=127.0.0.1:8080"),
		d.local(t, "BOREAS_INTERNAL_LISTEN=127.0.0.1:9090"))
	return cmd
}

var portInText = regexp.MustCompile(`((?:localhost|127\.0\.0\.1|[\s"'=]):)(\d{4,5})\b`)

// local puts ports of this test in the place of a document's.
func (d *document) local(t *testing.T, text string) string {
	t.Helper()
	return portInText.ReplaceAllStringFunc(text, func(s string) string {
		m := portInText.FindStringSubmatch(s)
		if d.ports[m[2]] == "" {
			d.ports[m[2]] = freePort(t)
		}
		return m[1] + d.ports[m[2]]
	})
}

// program is a running process group.
type program struct {
	what   string // for messages
	cmd    *exec.Cmd
	output string // name of the file with what it printed
	ended  chan error
}

func startProgram(t *testing.T, what string, cmd *exec.Cmd) *program {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	p := &program{what: what, cmd: cmd, output: out.Name(), ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

func (p *program) printed() string {
	b, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// await waits until the program answers at url. A build may be part of it.
func (p *program) await(t *testing.T, url string) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		select {
		case exit := <-p.ended:
			t.Fatalf("%s: ended with %v before it answered at %s\n%s", p.what, exit, url, p.printed())
		default:
		}
		if err := probe(t.Context(), url); err != nil {
			return fmt.Errorf("%s: %w\n%s", p.what, err, p.printed())
		}
		return nil
	})
}

// eventually repeats try until it succeeds or time is up.
func eventually(t *testing.T, patience time.Duration, try func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Error(err)
			return
		}
	}
}

func probe(ctx context.Context, url string) error {
	if strings.HasPrefix(url, "ws") {
		conn, resp, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// exitStatus is what `go run` says of a program that failed.
var exitStatus = regexp.MustCompile(`(?m)^exit status \d+$`)

// onlyGoRunInterrupted reports whether it was `go run` itself that failed, because
// of the interrupt, and not the program that it ran.
func (p *program) onlyGoRunInterrupted() bool {
	return strings.Contains(strings.Join(p.cmd.Args, " "), "go run ") && !exitStatus.MatchString(p.printed())
}

// stop interrupts the program, as Ctrl-C does, and waits for a clean end.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Errorf("%s: interrupt: %v", p.what, err)
	}
	select {
	case err := <-p.ended:
		if err != nil && !p.onlyGoRunInterrupted() {
			t.Errorf("%s: after Ctrl-C: %v\n%s", p.what, err, p.printed())
		}
	case <-time.After(time.Minute):
		t.Errorf("%s: still runs a minute after Ctrl-C\n%s", p.what, p.printed())
	}
}

// build runs go build in the repository's root.
func build(t *testing.T, to string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", to}, args...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	p, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(p)
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }
