package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// maxLines bounds the standard error that is kept of a process, in lines.
const maxLines = 2000

// Process is one run of a program.
type Process struct {
	Name string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
	err    error         // readable after exited

	mu     sync.Mutex
	lines  []string      // guarded by mu: the last lines of standard error
	events []string      // guarded by mu: all lines of standard output
	signal chan struct{} // guarded by mu: closed and replaced at each new event
}

// Start runs program. env holds NAME=value pairs on top of a minimal environment.
func Start(name, program string, env []string, args ...string) (*Process, error) {
	p := &Process{Name: name, exited: make(chan struct{}), signal: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	if damage := os.Getenv("BOREAS_MUTANT"); damage != "" { // of a program with the build tag boreas_mutants
		p.cmd.Env = append(p.cmd.Env, "BOREAS_MUTANT="+damage)
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.SysProcAttr = endWithParent()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	started := make(chan error, 1)
	go p.run(started, stdout, stderr)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// run starts the process and waits for its end. It stays on one thread until then,
// because Linux ties the parent's death signal to the thread that started the child.
func (p *Process) run(started chan<- error, stdout, stderr io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout, p.addEvent) })
	readers.Go(func() { p.read(stderr, p.addLine) })
	readers.Wait()
	p.err = p.cmd.Wait()
	close(p.exited)
}

func (p *Process) read(r io.Reader, add func(string)) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		add(scanner.Text())
	}
	_, _ = io.Copy(io.Discard, r) // an over-long line must not block the process
}

func (p *Process) addEvent(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, line)
	close(p.signal)
	p.signal = make(chan struct{})
}

func (p *Process) addLine(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == maxLines {
		p.lines = p.lines[1:]
	}
	p.lines = append(p.lines, line)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the last lines of the process's standard error.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Events returns the lines of the process's standard output so far.
func (p *Process) Events() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events[:len(p.events):len(p.events)]
}

// Await returns when done says so of the process's standard output. It fails when
// ctx or the process ends first.
func (p *Process) Await(ctx context.Context, done func(events []string) bool) error {
	for {
		p.mu.Lock()
		events, more := p.events[:len(p.events):len(p.events)], p.signal
		p.mu.Unlock()
		if done(events) {
			return nil
		}
		select {
		case <-more:
		case <-p.exited:
			if done(p.Events()) {
				return nil
			}
			return fmt.Errorf("%s ended (%w):\n%s", p.Name, p.err, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; its log:\n%s", p.Name, ctx.Err(), p.Log())
		}
	}
}

// Terminate sends SIGTERM: the process drains.
func (p *Process) Terminate() error { return p.send(syscall.SIGTERM) }

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	err := p.send(syscall.SIGKILL)
	<-p.exited
	return err
}

// Pause freezes the process.
func (p *Process) Pause() error { return p.send(syscall.SIGSTOP) }

// Resume lets a frozen process go on.
func (p *Process) Resume() error { return p.send(syscall.SIGCONT) }

func (p *Process) send(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %v: %w", p.Name, sig, err)
	}
	return nil
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the end of the process and returns how it ended: nil for exit
// status 0. It kills the process if ctx ends first.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s did not end: %w; its log:\n%s", p.Name, ctx.Err(), p.Log()), p.Kill())
	}
}
