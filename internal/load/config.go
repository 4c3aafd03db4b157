package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultConnections = 100
	DefaultRamp        = 500
	DefaultDuration    = 30 * time.Second
	DefaultWindow      = 1
	DefaultSize        = 64
	DefaultPath        = "/bench/echo"
	DefaultDialTimeout = 10 * time.Second
	DefaultLostAfter   = 10 * time.Second
)

// The routes of the service that [Router] makes, beside DefaultPath.
const (
	PathJoin    = "/bench/join"    // makes the socket a member of the group
	PathPublish = "/bench/publish" // sends the message's data to all members
)

// MaxSize is the most padding of a message, in bytes.
const MaxSize = 1 << 20

// Config says what to run. A zero field means its default.
type Config struct {
	// Targets are ws:// or wss:// URLs; connections are spread over them in turn.
	Targets []string
	// Connections is how many clients send. Default 100.
	Connections int
	// Idle is how many more only keep a connection open. Default 0.
	Idle int
	// Ramp is how many connections are opened per second. Default 500; negative:
	// as fast as possible.
	Ramp float64
	// Duration is how long is measured, from when all connections are open.
	// Default 30 s.
	Duration time.Duration
	// Warmup is for how long messages are sent before that. Default 0.
	Warmup time.Duration
	// Window is how many messages of a connection may wait for their answer.
	// Default 1.
	Window int
	// Rate is how many messages are sent per second, by all connections together.
	// Default 0: as many as Window allows.
	Rate float64
	// Size is how many bytes of padding a message's data holds. Default 64;
	// negative: none.
	Size int
	// Path is where messages go. Default "/bench/echo".
	Path string
	// Publish measures the fan-out to a group instead: all active connections join
	// it, and the first publishes at Rate.
	Publish bool
	// ReportLatency is how often each active connection sends its last latency to
	// the gateway, as a message to /$latency. Default 0: never.
	ReportLatency time.Duration
	// Header is sent with each handshake.
	Header http.Header
	// Credential returns the subprotocol that signs in connection number i, such
	// as "boreas.jwt.<token>". Default: none.
	Credential func(ctx context.Context, i int) (string, error)
	// Sources are local addresses to connect from, in turn: one address has about
	// 28,000 ports for each target. Default: the system's choice.
	Sources []netip.Addr
	// DialTimeout bounds one handshake, and one write. Default 10 s.
	DialTimeout time.Duration
	// LostAfter is how long to wait for answers at the end before they count as
	// lost. Default 10 s.
	LostAfter time.Duration
	// Progress is called about once a second. Default: nil.
	Progress func(Point)
}

func (c Config) withDefaults() Config {
	c.Connections = cmp.Or(c.Connections, DefaultConnections)
	c.Ramp = cmp.Or(c.Ramp, DefaultRamp)
	c.Duration = cmp.Or(c.Duration, DefaultDuration)
	c.Window = cmp.Or(c.Window, DefaultWindow)
	c.Size = cmp.Or(c.Size, DefaultSize)
	c.Path = cmp.Or(c.Path, DefaultPath)
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.LostAfter = cmp.Or(c.LostAfter, DefaultLostAfter)
	if c.Progress == nil {
		c.Progress = func(Point) {}
	}
	if c.Credential == nil {
		c.Credential = func(context.Context, int) (string, error) { return "", nil }
	}
	return c
}

// validate reports everything that is wrong with a configuration whose defaults
// have been filled in.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.Targets) > 0, "there is no URL to connect to")
	for _, target := range c.Targets {
		u, err := url.Parse(target)
		check(err == nil && u.Host != "" && (u.Scheme == "ws" || u.Scheme == "wss"), "%q is not a ws:// or wss:// URL", target)
	}
	check(c.Connections > 0, "connections: %d; must be positive", c.Connections)
	check(c.Idle >= 0, "idle: %d; must not be negative", c.Idle)
	check(c.Duration > 0, "duration: %v; must be positive", c.Duration)
	check(c.Warmup >= 0, "warmup: %v; must not be negative", c.Warmup)
	check(c.Window > 0, "window: %d; must be positive", c.Window)
	check(c.Rate >= 0, "rate: %v; must not be negative", c.Rate)
	check(c.Size <= MaxSize, "size: %d; must be at most %d", c.Size, MaxSize)
	check(strings.HasPrefix(c.Path, "/"), "path: %q; must begin with /", c.Path)
	check(!c.Publish || c.Rate > 0, "publishing needs a rate")
	check(c.ReportLatency >= 0, "latency reports: %v; must not be negative", c.ReportLatency)
	return errors.Join(errs...)
}
