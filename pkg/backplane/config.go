package backplane

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Config configures a [Backplane]. The zero value is complete; a zero field means
// its default.
type Config struct {
	// Namespace keeps deployments that share a Redis apart: a slug, the same on all
	// nodes that belong together. Default "boreas".
	Namespace string
	// NodeID names this process among the nodes: a slug. A node that starts again
	// under its old id replaces its former incarnation at once; two living nodes
	// must not share one. Default: random.
	NodeID wire.NodeID
	// LeaseTTL is how long a node that vanished counts as alive; the same on all
	// nodes. Default 5 s.
	LeaseTTL time.Duration
	// Logger gets trouble with Redis, resets of links and changes of membership.
	// Default: discards everything.
	Logger *slog.Logger
	// Hooks are told what happens; see [Hooks]. Default: none.
	Hooks Hooks

	// Key signs what nodes send to each other, so that who can only publish to Redis
	// cannot pretend to be one: the same on all nodes, at least 16 bytes. OldKey is
	// accepted beside it. See [link.Config]. Default: none, nothing is signed.
	Key, OldKey []byte

	// Bus, Link and Registry tune the layers below. What identifies them (topology,
	// client, node, namespace, LeaseTTL, logger, hooks) is set by Open.
	Bus      redisbus.Config
	Link     link.Config
	Registry registry.Config
}

// Hooks are told what happens in a backplane. They are called from its goroutines
// and must be quick. Any of them may be nil.
type Hooks struct {
	// Dropped is called for each frame that belongs to no stream or service here.
	Dropped func(Drop)
	// Opened is called with a backplane that Open is about to return.
	Opened func(*Backplane)
	// Closed is called when all that Open started has ended, before Done is closed.
	Closed func()

	Bus      redisbus.Hooks
	Link     link.Hooks
	Registry registry.Hooks
}

// Drop says why a received frame was not handed to a stream. It is the metric
// label.
type Drop string

// The reasons to drop a frame.
const (
	// DropUnknownStream is normal for frames that cross the end of their stream.
	DropUnknownStream Drop = "unknown_stream"
	// DropUnknownService means that the node was asked to serve what it does not
	// serve; the asking gateway got a Refuse.
	DropUnknownService Drop = "unknown_service"
	// DropMalformed means that the frame could not be parsed, or that its kind does
	// not travel in that direction: a node of another version.
	DropMalformed Drop = "malformed"
	// DropDuplicate means an Open for a stream that is open already.
	DropDuplicate Drop = "duplicate"
)

// DefaultLeaseTTL is the default of Config.LeaseTTL.
const DefaultLeaseTTL = registry.DefaultLeaseTTL

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = registry.DefaultNamespace
	}
	if c.NodeID == "" {
		c.NodeID = wire.NodeID("n-" + strings.ToLower(rand.Text()[:12]))
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = DefaultLeaseTTL
	}
	if c.Registry.Tick == 0 {
		c.Registry.Tick = min(registry.DefaultTick, c.LeaseTTL/5)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Hooks.Dropped == nil {
		c.Hooks.Dropped = func(Drop) {}
	}
	if c.Hooks.Opened == nil {
		c.Hooks.Opened = func(*Backplane) {}
	}
	if c.Hooks.Closed == nil {
		c.Hooks.Closed = func() {}
	}
	return c
}

// validate reports what is wrong with the fields that no layer below checks.
func (c Config) validate() error {
	var errs []error
	if err := wire.ValidateSlug(c.Namespace); err != nil {
		errs = append(errs, fmt.Errorf("backplane.Config.Namespace: %w", err))
	}
	if err := wire.ValidateSlug(string(c.NodeID)); err != nil {
		errs = append(errs, fmt.Errorf("backplane.Config.NodeID: %w", err))
	}
	return errors.Join(errs...)
}
