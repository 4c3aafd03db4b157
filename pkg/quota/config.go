package quota

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultMaxSubjects = 250_000
	DefaultCallTimeout = 250 * time.Millisecond
)

// Limits are what one subject may do, over all gateways. The zero value of a field
// is no limit.
type Limits struct {
	Connections    int  // at once
	ConnectionRate Rate // handshakes that get this far
	MessageRate    Rate
	ByteRate       Rate // of messages
}

func (l Limits) none() bool {
	return l.Connections <= 0 && !l.ConnectionRate.Limited() && !l.MessageRate.Limited() && !l.ByteRate.Limited()
}

func (l Limits) validate(name string) error {
	var errs []error
	for _, r := range []struct {
		name string
		rate Rate
	}{{"ConnectionRate", l.ConnectionRate}, {"MessageRate", l.MessageRate}, {"ByteRate", l.ByteRate}} {
		if err := r.rate.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("quota.Config.%s.%s: %w", name, r.name, err))
		}
	}
	if l.Connections < 0 {
		errs = append(errs, fmt.Errorf("quota.Config.%s.Connections: %d; must not be negative", name, l.Connections))
	}
	return errors.Join(errs...)
}

// Config configures a [Quota]. The zero value of a field means its default.
type Config struct {
	// Client talks to Redis. Required; it is not closed.
	Client redis.UniversalClient
	// Namespace separates deployments that share a Redis: a slug. Required.
	Namespace string
	// Self is this gateway's incarnation. Required.
	Self wire.Incarnation

	// Address limits each client address: an IPv4 address, or the /64 of an IPv6
	// address. Everybody behind one NAT is one address. Default: no limits.
	Address Limits
	// User limits each user who has authenticated. Default: no limits.
	User Limits

	// MaxSubjects is how many addresses and users are counted at once. Beyond it,
	// when none of them is idle, new ones are not limited by quotas. Default 250,000.
	MaxSubjects int
	// CallTimeout bounds a call to Redis, and so what a handshake waits for it.
	// After it, limits count per gateway until Redis answers again. Default 250 ms.
	CallTimeout time.Duration

	// Logger is told when Redis stops and starts answering. Default: discards.
	Logger *slog.Logger
	// Hooks are told what happens. Any of them may be nil.
	Hooks Hooks
}

// Hooks are called from the goroutines that do things, and must be quick.
type Hooks struct {
	// Call is called after each exchange with Redis, with the number of subjects
	// that it was about.
	Call func(subjects int, took time.Duration, err error)
	// Untracked is called for each connection that is not counted because of
	// Config.MaxSubjects.
	Untracked func()
}

func (c Config) withDefaults() Config {
	if c.MaxSubjects == 0 {
		c.MaxSubjects = DefaultMaxSubjects
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = DefaultCallTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Hooks.Call == nil {
		c.Hooks.Call = func(int, time.Duration, error) {}
	}
	if c.Hooks.Untracked == nil {
		c.Hooks.Untracked = func() {}
	}
	return c
}

func (c Config) validate() error {
	errs := []error{c.Address.validate("Address"), c.User.validate("User")}
	if c.Client == nil {
		errs = append(errs, errors.New("quota.Config.Client: is missing"))
	}
	if err := wire.ValidateSlug(c.Namespace); err != nil {
		errs = append(errs, fmt.Errorf("quota.Config.Namespace: %w", err))
	}
	if c.MaxSubjects < 0 || c.CallTimeout < 0 {
		errs = append(errs, errors.New("quota.Config: MaxSubjects and CallTimeout must be positive"))
	}
	return errors.Join(errs...)
}
