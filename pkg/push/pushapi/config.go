package pushapi

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
)

// Config is how an API is served.
type Config struct {
	// Keys are the keys of callers, by the caller's name: a bearer token of 16 bytes or
	// more each. Default: none. Then everybody who reaches the API may use it, but web
	// pages.
	Keys map[string]string
	// MaxRequestBytes is the largest request. Default 1 MiB.
	MaxRequestBytes int
	// Timeout bounds a request whose caller sets no deadline; longer deadlines are cut
	// to 65 s. Default 10 s.
	Timeout time.Duration
	// Remember is how many pushes with an idempotency key the process remembers by
	// itself, which matters when Redis loses its data, and of how many it notes the
	// outcome when Redis is back. Default 4096.
	Remember int
	// RememberFor is how long pushes with an idempotency key are remembered, by Redis
	// and by the process: 2 min or more, so that none is forgotten while it is under way.
	// Default 10 min.
	RememberFor time.Duration
	// Ready returns nil while the process should get new work: what health checks
	// answer. Default: always.
	Ready func() error
	// Logger gets defects, and limits that were met. Default: nobody does.
	Logger *slog.Logger
	// Called is told of each request that could be read, and of each that was refused
	// for its key: method, the caller's name ("" if refused or without keys), the code
	// ("ok" or one of Connect's) and how long it took. Default: nobody is.
	Called func(method, caller, code string, took time.Duration)
}

// The defaults of [Config], and limits.
const (
	DefaultMaxRequestBytes = 1 << 20
	DefaultTimeout         = 10 * time.Second
	DefaultRemember        = 4096
	DefaultRememberFor     = 10 * time.Minute

	maxTimeout = router.MaxPushTimeout
	// maxDeadline leaves time for the answer of a push that may take maxTimeout.
	maxDeadline = maxTimeout + 5*time.Second
	// MinKey is the least length of a key, in bytes: shorter ones can be guessed.
	MinKey = 16
	// MaxPushes is how many pushes PushMany takes.
	MaxPushes = 100
	// MaxIdempotencyKey is the length of an idempotency key, in bytes.
	MaxIdempotencyKey = 128
)

func (c Config) withDefaults() Config {
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Remember == 0 {
		c.Remember = DefaultRemember
	}
	if c.RememberFor == 0 {
		c.RememberFor = DefaultRememberFor
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Called == nil {
		c.Called = func(string, string, string, time.Duration) {}
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	for name, key := range c.Keys {
		if name == "" {
			errs = append(errs, errors.New("pushapi.Config.Keys: a key without a name"))
		}
		if len(key) < MinKey {
			errs = append(errs, fmt.Errorf("pushapi.Config.Keys: the key of %q has %d bytes; want %d or more", name, len(key), MinKey))
		}
	}
	if c.MaxRequestBytes < 0 || c.Timeout < 0 || c.Timeout > maxTimeout || c.Remember < 0 || c.RememberFor < 2*maxTimeout {
		errs = append(errs, fmt.Errorf("pushapi.Config: MaxRequestBytes %d, Timeout %v, Remember %d or RememberFor %v is out of range", c.MaxRequestBytes, c.Timeout, c.Remember, c.RememberFor))
	}
	return errors.Join(errs...)
}
