package push

import (
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Hooks observe a hub, for metrics and tests. Any of them may be nil. They are called
// from many goroutines and must be quick.
type Hooks struct {
	// Sent is told of each push that this node sent, when its result is complete, and
	// how long that took.
	Sent func(target wire.TargetKind, r Result, took time.Duration)
	// Fanned is told of each push that this node's gateways delivered: to how many
	// sockets it was addressed and how long it took to queue it for all of them.
	Fanned func(target wire.TargetKind, targeted, delivered, queued int, took time.Duration)
	// Dropped is told of pushes that did not reach a connection of this node.
	Dropped func(reason wire.DropReason, sockets int)
	// Looked is told of each look-up of an audience's gateways in Redis, and how many of
	// them are asked only because Redis may have lost what they have.
	Looked func(unsure int, took time.Duration, err error)
	// Forgot is told how many look-ups are forgotten before their time, since there are
	// too many.
	Forgot func(lookups int)
	// Shown is told how long it took until all nodes knew of an audience that is new
	// on this node, and how many had to be told.
	Shown func(told int, took time.Duration)
	// Present is told how many members of a group that is watched on this node joined
	// and left, when those who watch are told.
	Present func(joined, left int)
}

func (h Hooks) orNothing() Hooks {
	if h.Sent == nil {
		h.Sent = func(wire.TargetKind, Result, time.Duration) {}
	}
	if h.Fanned == nil {
		h.Fanned = func(wire.TargetKind, int, int, int, time.Duration) {}
	}
	if h.Dropped == nil {
		h.Dropped = func(wire.DropReason, int) {}
	}
	if h.Looked == nil {
		h.Looked = func(int, time.Duration, error) {}
	}
	if h.Forgot == nil {
		h.Forgot = func(int) {}
	}
	if h.Shown == nil {
		h.Shown = func(int, time.Duration) {}
	}
	if h.Present == nil {
		h.Present = func(int, int) {}
	}
	return h
}
