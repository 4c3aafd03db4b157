package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	program = "redis-server"
	// startTimeout bounds how long a server may take to answer PING.
	startTimeout = time.Minute
	// maxSocketPath is what every unix allows for the path of a socket.
	maxSocketPath = 100
)

// Config says how to run the server. The zero value is a server on a unix socket
// without password and without persistence.
type Config struct {
	// TCP lets the server also listen on a free port of 127.0.0.1. Default: false.
	TCP bool
	// Password is what clients must authenticate with. Default: none.
	Password string
	// TLS lets the TCP port speak TLS, if not nil. Clients need no certificate.
	TLS *Certificate
	// Args are further options of redis-server, such as "--appendonly", "yes".
	// They win over the ones that this package sets. Default: none.
	Args []string

	sentinel []string // lines of the configuration of a sentinel; nil: no sentinel
}

// TB is the part of testing.TB that [Start] needs.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Server is a running (or killed) redis-server.
type Server struct {
	cfg    Config
	path   string // of the program
	dir    string
	port   int // 0 without TCP
	client *redis.Client

	mu   sync.Mutex // guards proc, and one start or end at a time
	proc *process   // nil while not running
}

// process is one run of the program.
type process struct {
	handle *os.Process
	exited chan struct{} // closed when the process has been waited for
}

// Start runs a server for a test, until the test ends. It fails the test, saying
// why, if the server cannot be started.
func Start(tb TB, cfg Config) *Server {
	tb.Helper()
	s, err := Run(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Logf("redistest: close: %v", err)
		}
	})
	return s
}

// Run starts a server outside of a test. The caller must Close it. ctx bounds the
// start only.
func Run(ctx context.Context, cfg Config) (*Server, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("no %s in $PATH (%w): install Redis 7 or later, for example with "+
			"`apt-get install redis-server`, `dnf install redis` or `brew install redis`", program, err)
	}
	dir, err := shortDir()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, path: path, dir: dir}
	if cfg.TCP {
		if s.port, err = FreePort(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	s.client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.socket(), Password: cfg.Password, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	if cfg.sentinel != nil {
		port := []string{"port " + strconv.Itoa(s.port)}
		if cfg.TLS != nil {
			port = []string{
				"port 0", "tls-port " + strconv.Itoa(s.port), "tls-cert-file " + cfg.TLS.CertFile, "tls-key-file " + cfg.TLS.KeyFile,
				"tls-ca-cert-file " + cfg.TLS.CertFile, "tls-auth-clients no", "tls-replication yes",
			}
		}
		lines := slices.Concat(port, []string{"bind 127.0.0.1", "unixsocket " + s.socket(), "dir " + dir})
		lines = append(lines, cfg.sentinel...)
		if err := os.WriteFile(s.sentinelFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// givenPorts are those that FreePort has returned, or found taken.
var givenPorts sync.Map

// FreePort returns a TCP port of 127.0.0.1 on which nobody listens at the moment. It
// is below the range that the ports of outgoing connections are taken from, so that
// none of those can take it before its user listens.
//
// Those who were told of a port have often not begun to listen when the next one asks, or
// never do. So no two calls of a process get the same one, and processes with ids near to
// each other look in different places first.
func FreePort() (int, error) {
	const first, count, places = 10_000, 20_000, 50
	own := first + os.Getpid()%places*(count/places)
	err := errors.New("all that were tried had been given before")
	for try := range 300 {
		port := first + rand.IntN(count)
		if try < 100 {
			port = own + rand.IntN(count/places)
		}
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		l, failed := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if failed == nil {
			return port, l.Close()
		}
		err = failed
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// shortDir makes a directory in which a unix socket's path is short enough.
func shortDir() (string, error) {
	dir, err := os.MkdirTemp("", "redis")
	if err == nil && len(dir) > maxSocketPath-len("/s") {
		if err := os.Remove(dir); err != nil {
			return "", err
		}
		dir, err = os.MkdirTemp("/tmp", "redis")
	}
	return dir, err
}

// URL is the server's address on its unix socket, with the password.
func (s *Server) URL() string {
	return (&url.URL{Scheme: "unix", User: s.user(), Path: s.socket()}).String()
}

// TCPURL is the server's TCP address, with the password; "" without Config.TCP.
func (s *Server) TCPURL() string {
	if s.port == 0 {
		return ""
	}
	return s.cfg.TLS.url("redis", s.user(), s.Addr(), "")
}

// Addr is the host and port of the server's TCP address; "" without Config.TCP.
func (s *Server) Addr() string {
	if s.port == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

func (s *Server) user() *url.Userinfo {
	if s.cfg.Password == "" {
		return nil
	}
	return url.UserPassword("", s.cfg.Password)
}

// Client is a client of the server on its unix socket. It lives as long as s.
func (s *Server) Client() *redis.Client { return s.client }

// PID is the process id of the server; 0 while it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.handle.Pid
}

// Log returns what the server wrote so far, over all its starts.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Server) socket() string  { return filepath.Join(s.dir, "s") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// sentinelFile is where a sentinel keeps its configuration and what it learned.
func (s *Server) sentinelFile() string { return filepath.Join(s.dir, "sentinel.conf") }

func (s *Server) args() []string {
	if s.cfg.sentinel != nil {
		return []string{s.sentinelFile(), "--sentinel"}
	}
	plain := s.port
	if s.cfg.TLS != nil {
		plain = 0
	}
	a := []string{
		"--port", strconv.Itoa(plain), "--bind", "127.0.0.1", "--unixsocket", s.socket(),
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}
	if s.cfg.Password != "" {
		a = append(a, "--requirepass", s.cfg.Password)
	}
	if s.cfg.TLS != nil {
		a = append(a, "--tls-port", strconv.Itoa(s.port), "--tls-cert-file", s.cfg.TLS.CertFile, "--tls-key-file", s.cfg.TLS.KeyFile,
			"--tls-ca-cert-file", s.cfg.TLS.CertFile, "--tls-auth-clients", "no", "--tls-replication", "yes")
	}
	return append(a, s.cfg.Args...)
}

// start runs the program and waits for its answer to PING. The caller holds mu or
// has not yet shared s.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := s.spawn()
	if err != nil {
		return err
	}
	s.proc = p
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-p.exited:
			s.proc = nil
			return fmt.Errorf("%s ended at once; its log:\n%s", program, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer PING (%w); its log:\n%s", program, context.Cause(ctx), s.Log())
		case <-poll.C:
			if ping(s.socket(), s.cfg.Password) {
				return nil
			}
		}
	}
}

// ping reports whether the server at the unix socket is ready.
func ping(socket, password string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	r := bufio.NewReader(c)
	if password != "" {
		if _, err := fmt.Fprintf(c, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password); err != nil {
			return false
		}
		if line, err := r.ReadString('\n'); err != nil || line != "+OK\r\n" {
			return false
		}
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := r.ReadString('\n')
	return err == nil && line == "+PONG\r\n"
}

// spawn starts the program. The goroutine that starts it stays on its thread until
// the process ends, because Linux ties the parent's death signal to that thread.
func (s *Server) spawn() (*process, error) {
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.path, s.args()...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = endWithParent()
	started := make(chan error, 1)
	p := &process{exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		defer func() { _ = out.Close() }()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", program, err)
			return
		}
		p.handle = cmd.Process
		started <- nil
		_ = cmd.Wait() // a killed server is no error, and one that dies is seen by its clients
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}
