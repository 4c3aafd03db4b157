package redisbus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultNamespace    = "boreas"
	DefaultPingEvery    = time.Second
	DefaultSilenceLimit = 2 * time.Second
	DefaultCanaryEvery  = 500 * time.Millisecond
)

// Config configures a [Bus]. A zero field means its default.
type Config struct {
	// Topology says where Redis is; see [ParseURL]. Required.
	Topology *Topology
	// Node is this node's id: it names the canary's channel, and the connections in
	// CLIENT LIST. Required.
	Node wire.NodeID
	// Namespace keeps the channels of several deployments on one Redis apart. It is
	// a slug. Default "boreas".
	Namespace string
	// Logger gets lost and regained connections. Default: discards everything.
	Logger *slog.Logger
	// Hooks are told what happens; see [Hooks]. Default: none.
	Hooks Hooks

	// PingEvery is the interval of the pings that keep a quiet subscription under
	// watch. Default 1 s.
	PingEvery time.Duration
	// SilenceLimit is how long a subscription may stay without any sign of life, a
	// publication without its reply, or the canary away, before the connections
	// are replaced. Default 2 s: what was on its way passes within 3 s.
	SilenceLimit time.Duration
	// CanaryEvery is the interval at which the bus publishes to itself. Default
	// 500 ms.
	CanaryEvery time.Duration
}

// Hooks are called as things happen, from the bus's own goroutines: they must be
// quick. Any of them may be nil.
type Hooks struct {
	// Published is called after each pipeline that Redis confirmed, with its number
	// of datagrams, their bytes, and the time from its start to the last reply.
	Published func(datagrams, bytes int, took time.Duration)
	// PublishFailed is called after each pipeline that failed or may have failed,
	// with its number of datagrams.
	PublishFailed func(datagrams int)
	// Subscribed is called at each confirmation of a subscription.
	Subscribed func()
	// SubscriptionLost is called at each end of a subscribed connection.
	SubscriptionLost func(Loss)
	// Canary is called at each return of the canary, with its round trip.
	Canary func(time.Duration)
}

// Loss says why a subscribed connection was given up. It is the metric label.
type Loss string

// The reasons to give up a subscribed connection.
const (
	LossError  Loss = "error"  // reading or writing failed: Redis or the network closed it
	LossSilent Loss = "silent" // nothing came, not even the answer to a ping
	LossCanary Loss = "canary" // pings were answered, but what we publish did not arrive
)

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.PingEvery, DefaultPingEvery},
		{&c.SilenceLimit, DefaultSilenceLimit},
		{&c.CanaryEvery, DefaultCanaryEvery},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// validate reports everything that is wrong with a configuration whose defaults
// have been filled in.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("redisbus.Config."+format, args...))
		}
	}
	check(c.Topology != nil, "Topology: is missing; use redisbus.ParseURL")
	if err := wire.ValidateSlug(string(c.Node)); err != nil {
		check(false, "Node: %w", err)
	}
	if err := wire.ValidateSlug(c.Namespace); err != nil {
		check(false, "Namespace: %w", err)
	}
	check(c.PingEvery > 0, "PingEvery: %v; must be positive", c.PingEvery)
	check(c.CanaryEvery > 0, "CanaryEvery: %v; must be positive", c.CanaryEvery)
	check(c.SilenceLimit > c.PingEvery && c.SilenceLimit > c.CanaryEvery,
		"SilenceLimit: %v; must be longer than PingEvery (%v) and CanaryEvery (%v)", c.SilenceLimit, c.PingEvery, c.CanaryEvery)
	return errors.Join(errs...)
}
