package service

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultDrainTimeout = 10 * time.Second
	DefaultCloseGrace   = time.Second
)

// minWindow is the smallest socket window: one message of the gateway's default
// size limit.
const minWindow = 64 << 10

// Config says how a service runs. The zero value is a good start.
type Config struct {
	// Gateways names the gateways that route to this service. Empty: all of them.
	// Every instance of a service should name the same.
	Gateways []string

	// OnInstanceLoss says what becomes of a socket whose instance dies or stops.
	// registry.PolicyClose closes its client with 1012, to connect again;
	// registry.PolicyRepin keeps the client and pins the socket to another instance
	// at its next message, where UseOpen runs again and nothing is stored on the
	// socket. Every instance should have the same. Default: PolicyClose.
	OnInstanceLoss registry.Policy

	// Version is shown beside the instance to operators. Default: none.
	Version string

	// SocketWindow is how much of one socket may wait to be handled, in bytes, each
	// message counting wire.DataOverhead more than its length. Beyond it the client
	// is held back. A gateway starts each stream with wire.DefaultWindow: a smaller
	// window holds from when the difference was handled. Default 256 KiB, at least
	// 64 KiB.
	SocketWindow int

	// DrainTimeout is how long handlers may take to finish when the service stops;
	// then they are cancelled. Keep it below the time that whatever stops the
	// process leaves it. Default 10 s. Negative: handlers are cancelled at once.
	DrainTimeout time.Duration

	// CloseGrace is how long cancelled handlers and UseClose handlers may take to
	// return at the end of a stop; then they are left behind. Default 1 s.
	// Negative: none.
	CloseGrace time.Duration

	// Logger gets what operators may want to know. Default: discards everything.
	Logger *slog.Logger

	// Hooks observe the service. Default: none.
	Hooks Hooks
}

// withDefaults returns the configuration that is in effect.
func (c Config) withDefaults() Config {
	if c.OnInstanceLoss == "" {
		c.OnInstanceLoss = registry.PolicyClose
	}
	if c.SocketWindow == 0 {
		c.SocketWindow = wire.DefaultWindow
	}
	c.DrainTimeout = duration(c.DrainTimeout, DefaultDrainTimeout)
	c.CloseGrace = duration(c.CloseGrace, DefaultCloseGrace)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// duration applies the rule that zero is the default and negative is none.
func duration(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return max(d, 0)
}

// validate reports every problem of the configuration.
func (c Config) validate() error {
	var errs []error
	for _, g := range c.Gateways {
		if err := wire.ValidateSlug(g); err != nil {
			errs = append(errs, fmt.Errorf("Gateways: gateway name %w", err))
		}
	}
	if c.OnInstanceLoss != registry.PolicyClose && c.OnInstanceLoss != registry.PolicyRepin {
		errs = append(errs, fmt.Errorf("OnInstanceLoss: %q is neither PolicyClose nor PolicyRepin", c.OnInstanceLoss))
	}
	if c.SocketWindow < minWindow || c.SocketWindow > 1<<30 {
		errs = append(errs, fmt.Errorf("SocketWindow: %d bytes is not within 64 KiB and 1 GiB", c.SocketWindow))
	}
	return errors.Join(errs...)
}
