package link

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultWindowFrames  = 4096
	DefaultWindowBytes   = 1 << 20
	DefaultControlBytes  = 4 << 20
	DefaultMaxBatchBytes = 64 << 10
	DefaultMaxPeers      = 4096
	DefaultAckDelay      = 20 * time.Millisecond
	DefaultMinRTO        = 50 * time.Millisecond
	DefaultMaxRTO        = 400 * time.Millisecond
	DefaultProbeInterval = 100 * time.Millisecond
	DefaultResetAfter    = 30 * time.Second
	DefaultForgottenFor  = 10 * time.Minute
)

// Config configures a [Mesh]. A zero field means its default.
type Config struct {
	// Self is this node's incarnation. Required.
	Self wire.Incarnation
	// Bus carries the datagrams. Required. It must be running, or run soon.
	Bus Bus
	// Handler takes frames and resets. Required.
	Handler Handler
	// Logger gets resets and rejected datagrams that hint at a wrong setup.
	// Default: discards everything.
	Logger *slog.Logger
	// Hooks are told what happens; see [Hooks]. Default: none.
	Hooks Hooks

	// Key signs the datagrams: those of nodes without the key are rejected. The same
	// on all nodes, at least 16 bytes. Default: none, nothing is signed.
	Key []byte
	// OldKey is accepted from peers beside Key, while keys are being replaced.
	// Default: none.
	OldKey []byte

	// WindowFrames is the most frames that wait for their acknowledgement per
	// link and direction before Send blocks. Default 4096.
	WindowFrames int
	// WindowBytes is the same in bytes, and with that the largest frame. A
	// receiver holds at most as much out of order. Default 1 MiB.
	WindowBytes int
	// ControlBytes is how far frames of SendControl may go beyond the window, in
	// bytes, before the link is reset. Default 4 MiB.
	ControlBytes int
	// MaxBatchBytes is the size, in bytes, at which a datagram takes no further
	// frame. Only a single larger frame makes a larger one. Default 64 KiB.
	MaxBatchBytes int
	// MaxPeers is the most links; datagrams of further peers are rejected.
	// Default 4096.
	MaxPeers int

	// AckDelay is how long an acknowledgement waits for a frame to travel with.
	// Default 20 ms; negative: it does not wait.
	AckDelay time.Duration
	// MinRTO is how long a sender waits for an acknowledgement before it asks the
	// peer what is missing. Default 50 ms.
	MinRTO time.Duration
	// MaxRTO is the limit of the doubling of that wait. Default 400 ms.
	MaxRTO time.Duration
	// ProbeInterval is the pause between the questions to a peer that is not
	// subscribed. Default 100 ms.
	ProbeInterval time.Duration
	// ResetAfter is how long frames may stay without any new acknowledgement
	// before the link is reset. Default 30 s; negative: for ever.
	ResetAfter time.Duration
	// ForgottenFor is how long the mesh remembers a forgotten peer, in order to
	// reject its late datagrams and to tell it, should it live. Default 10 min.
	ForgottenFor time.Duration
}

func (c Config) withDefaults() Config {
	c.WindowFrames = cmp.Or(c.WindowFrames, DefaultWindowFrames)
	c.WindowBytes = cmp.Or(c.WindowBytes, DefaultWindowBytes)
	c.ControlBytes = cmp.Or(c.ControlBytes, DefaultControlBytes)
	c.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, DefaultMaxBatchBytes)
	c.MaxPeers = cmp.Or(c.MaxPeers, DefaultMaxPeers)
	c.AckDelay = cmp.Or(c.AckDelay, DefaultAckDelay)
	c.MinRTO = cmp.Or(c.MinRTO, DefaultMinRTO)
	c.MaxRTO = cmp.Or(c.MaxRTO, DefaultMaxRTO)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, DefaultProbeInterval)
	c.ResetAfter = cmp.Or(c.ResetAfter, DefaultResetAfter)
	c.ForgottenFor = cmp.Or(c.ForgottenFor, DefaultForgottenFor)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate reports everything that is wrong with a configuration whose defaults
// have been filled in.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("link.Config."+format, args...))
		}
	}
	if err := wire.ValidateSlug(string(c.Self.Node)); err != nil {
		check(false, "Self.Node: %w", err)
	}
	check(c.Self.Epoch != 0, "Self.Epoch: is zero; use wire.NewEpoch")
	check(c.Bus != nil, "Bus: is missing")
	check(c.Handler != nil, "Handler: is missing")
	check(len(c.Key) == 0 || len(c.Key) >= minKey, "Key: %d bytes; must be at least %d", len(c.Key), minKey)
	check(len(c.OldKey) == 0 || len(c.OldKey) >= minKey, "OldKey: %d bytes; must be at least %d", len(c.OldKey), minKey)
	check(len(c.OldKey) == 0 || len(c.Key) > 0, "OldKey: is set, and Key is not")
	check(c.WindowFrames > 0, "WindowFrames: %d; must be positive", c.WindowFrames)
	check(c.WindowBytes >= 4096, "WindowBytes: %d; must be at least 4096", c.WindowBytes)
	check(c.ControlBytes > 0, "ControlBytes: %d; must be positive", c.ControlBytes)
	check(c.MaxBatchBytes >= 2*maxHeader, "MaxBatchBytes: %d; must be at least %d", c.MaxBatchBytes, 2*maxHeader)
	check(c.MaxPeers > 0, "MaxPeers: %d; must be positive", c.MaxPeers)
	check(c.MinRTO > 0, "MinRTO: %v; must be positive", c.MinRTO)
	check(c.MaxRTO >= c.MinRTO, "MaxRTO: %v; must be at least MinRTO (%v)", c.MaxRTO, c.MinRTO)
	check(c.ProbeInterval > 0, "ProbeInterval: %v; must be positive", c.ProbeInterval)
	check(c.ForgottenFor > 0, "ForgottenFor: %v; must be positive", c.ForgottenFor)
	if c.Bus != nil {
		check(c.Bus.MaxDatagram() >= 4*maxHeader, "Bus: carries only %d bytes; must be at least %d", c.Bus.MaxDatagram(), 4*maxHeader)
	}
	return errors.Join(errs...)
}
