package router

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// The defaults of [Config].
const (
	DefaultTurnTimeout     = time.Second
	DefaultMaxHandlers     = 256
	DefaultMaxMessageBytes = 64 << 10
	DefaultPingInterval    = 25 * time.Second
	DefaultPingTimeout     = 20 * time.Second
	DefaultWriteTimeout    = 10 * time.Second
)

// Config says how a router treats its sockets. Of nested routers only that of the
// outermost counts.
type Config struct {
	// TurnTimeout is how long a handler may hold its socket's turn: after that the
	// next message starts beside it. Time that is spent in a Send which waits for
	// the client does not count. 0: 1 s. Negative: only a handler that waits in
	// Receive or Request lets the next message start.
	TurnTimeout time.Duration
	// MaxHandlers is the most messages of one socket that are handled side by side.
	// At the limit further messages wait, and with them the client. 0: 256.
	// Negative: no limit.
	MaxHandlers int
	// Logger reports panics and errors that no handler dealt with. nil:
	// slog.Default().
	Logger *slog.Logger
	// Hooks observe.
	Hooks Hooks

	// What follows concerns ServeHTTP only; a gateway has settings of its own.

	// Origins are the origins whose pages may connect: host names, with or without
	// a scheme before them, in which * stands for any text. Empty: all.
	Origins []string
	// MaxMessageBytes is the largest message accepted; a client that sends a larger
	// one is closed with 1009. 0: 64 KiB. Negative: no limit.
	MaxMessageBytes int64
	// PingInterval is the time between pings. 0: 25 s. Negative: none are sent, and
	// dead clients go unnoticed.
	PingInterval time.Duration
	// PingTimeout is how long the answer to a ping may take. 0: 20 s.
	PingTimeout time.Duration
	// WriteTimeout is how long a client may take to accept a message; after that it
	// is closed with 1008. 0: 10 s. Negative: no limit.
	WriteTimeout time.Duration
}

// Hooks are called, when set, from the goroutine concerned; they must not block.
type Hooks struct {
	// Panicked: a handler panicked.
	Panicked func()
	// TurnTimedOut: a handler held its turn for too long; the next message starts.
	TurnTimedOut func()
	// Handled: the handlers of a message have returned; took is the time since they
	// were called, waits for the client included.
	Handled func(took time.Duration)
	// HandlerLimit: messages of a socket wait because MaxHandlers are at work
	// (reason "handler_limit").
	HandlerLimit func()
}

func (c *Config) validate() error {
	var errs []error
	if c.PingTimeout < 0 {
		errs = append(errs, fmt.Errorf("PingTimeout is %v; it cannot be disabled: disable PingInterval instead", c.PingTimeout))
	}
	for _, o := range c.Origins {
		if o == "" {
			errs = append(errs, errors.New("an entry of Origins is empty; leave Origins empty to allow all"))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) setDefaults() {
	c.TurnTimeout = cmp.Or(c.TurnTimeout, DefaultTurnTimeout)
	c.MaxHandlers = cmp.Or(c.MaxHandlers, DefaultMaxHandlers)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, DefaultMaxMessageBytes)
	c.PingInterval = cmp.Or(c.PingInterval, DefaultPingInterval)
	c.PingTimeout = cmp.Or(c.PingTimeout, DefaultPingTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultWriteTimeout)
}

func (c *Config) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

func call(hook func()) {
	if hook != nil {
		hook()
	}
}

// httpWindow is how many bytes of messages, counted as on a stream, a client that
// connects by ServeHTTP may have queued before reading from it stops.
const httpWindow = wire.DefaultWindow
