package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Config describes one node's part in the registry. The zero value of a field
// means its default.
type Config struct {
	// Client talks to Redis. Required. The registry never closes it. Its options
	// should set ContextTimeoutEnabled, else a hung Redis is noticed only after the
	// client's own read timeout.
	Client redis.UniversalClient

	// Namespace separates deployments that share a Redis: a slug. Default "boreas".
	Namespace string

	// Self is this node's incarnation. Required.
	Self wire.Incarnation

	// LeaseTTL is how long a node that stopped renewing its leases counts as alive,
	// on the lease clock (see the package documentation). All nodes of a namespace
	// should use the same. Default 5 s.
	LeaseTTL time.Duration

	// Tick is the time between two renewals of a lease; at most a quarter of
	// LeaseTTL. Default 1 s, or a fifth of LeaseTTL if that is shorter.
	Tick time.Duration

	// Poll is the shortest time between two polls of the versions in Redis, at most
	// a fifth of LeaseTTL; each wait is drawn from Poll to 1.5*Poll. Change
	// notifications usually arrive earlier. Default as Tick.
	Poll time.Duration

	// CallTimeout bounds one exchange with Redis. Default 1 s.
	CallTimeout time.Duration

	// PinTimeout bounds a Pin whose context has no earlier deadline, retries
	// included. Default 5 s.
	PinTimeout time.Duration

	// Batch is the most pins and unpins that one script call carries. Default 64.
	Batch int

	// MaxWaiting is the most sockets of one service that may wait for a pin at a
	// time; further ones get ErrUnavailable at once. Default 65,536.
	MaxWaiting int

	// Alive tells whether this node can be reached by others: its leases are
	// renewed only while Alive returns true. It must not block. Default: always.
	Alive func() bool

	// Logger gets changes of membership and trouble with Redis. Default: discard.
	Logger *slog.Logger

	// Hooks observe the registry.
	Hooks Hooks
}

// The defaults of Config.
const (
	DefaultNamespace   = "boreas"
	DefaultLeaseTTL    = 5 * time.Second
	DefaultTick        = time.Second
	DefaultPoll        = time.Second
	DefaultCallTimeout = time.Second
	DefaultPinTimeout  = 5 * time.Second
	DefaultBatch       = 64
	DefaultMaxWaiting  = 65536
)

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	orString(&c.Namespace, DefaultNamespace)
	orDefault(&c.LeaseTTL, DefaultLeaseTTL)
	orDefault(&c.Tick, min(DefaultTick, c.LeaseTTL/5))
	orDefault(&c.Poll, min(DefaultPoll, c.LeaseTTL/5))
	orDefault(&c.CallTimeout, DefaultCallTimeout)
	orDefault(&c.PinTimeout, DefaultPinTimeout)
	orDefault(&c.Batch, DefaultBatch)
	orDefault(&c.MaxWaiting, DefaultMaxWaiting)
	if c.Alive == nil {
		c.Alive = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Hooks = c.Hooks.withDefaults()
	return c
}

func orString(v *string, d string) {
	if *v == "" {
		*v = d
	}
}

func orDefault[T time.Duration | int](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// validate reports everything that is wrong with c, whose defaults are filled in.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Client == nil {
		bad("Client is missing")
	}
	if err := wire.ValidateSlug(c.Namespace); err != nil {
		bad("Namespace: %w", err)
	}
	if err := wire.ValidateSlug(string(c.Self.Node)); err != nil {
		bad("Self: node: %w", err)
	}
	for name, d := range map[string]time.Duration{
		"LeaseTTL": c.LeaseTTL, "Tick": c.Tick, "Poll": c.Poll, "CallTimeout": c.CallTimeout, "PinTimeout": c.PinTimeout,
	} {
		if d < time.Millisecond {
			bad("%s is %v: it must be at least 1 ms", name, d)
		}
	}
	if c.Tick > c.LeaseTTL/4 {
		bad("Tick is %v: it must be at most a quarter of LeaseTTL, which is %v", c.Tick, c.LeaseTTL)
	}
	if c.Poll > c.LeaseTTL/5 {
		bad("Poll is %v: it must be at most a fifth of LeaseTTL, which is %v", c.Poll, c.LeaseTTL)
	}
	if c.Batch < 1 || c.Batch > maxBatch {
		bad("Batch is %d: it must be 1 to %d", c.Batch, maxBatch)
	}
	if c.MaxWaiting < 1 {
		bad("MaxWaiting is %d: it must be at least 1", c.MaxWaiting)
	}
	if len(errs) > 0 {
		return fmt.Errorf("registry: config: %w", errors.Join(errs...))
	}
	return nil
}

// maxBatch keeps one script call short: Redis serves nobody else meanwhile.
const maxBatch = 512
