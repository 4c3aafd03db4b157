package registry

import "time"

// Hooks observe the registry, for metrics and tests. Each may be nil, is called
// from the registry's goroutines, possibly at the same time, and must not block.
type Hooks struct {
	// Call is told of each script call: the script's name, how many members, pins
	// or services it was about, how long it took, and its error, if any.
	Call func(script string, n int, took time.Duration, err error)

	// Generation is told when this node writes its pins of a service to Redis again
	// as a new generation, and why.
	Generation func(service string, cause Cause, pins int)

	// Reaped is told when this node removed a dead member and, for a gateway, how
	// many pins of it.
	Reaped func(service string, kind MemberKind, pins int)
}

// Cause says why a membership was written again.
type Cause string

// The causes of a new generation or announcement.
const (
	CauseJoin  Cause = "join"  // the first time
	CauseLost  Cause = "lost"  // Redis does not know this member any more: it lost data
	CauseDead  Cause = "dead"  // others declared this member dead
	CauseDrift Cause = "drift" // Redis has other pins than this node remembers
)

func (h Hooks) withDefaults() Hooks {
	if h.Call == nil {
		h.Call = func(string, int, time.Duration, error) {}
	}
	if h.Generation == nil {
		h.Generation = func(string, Cause, int) {}
	}
	if h.Reaped == nil {
		h.Reaped = func(string, MemberKind, int) {}
	}
	return h
}
