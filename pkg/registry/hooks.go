package registry

import "time"

// Hooks observe the registry, for metrics and tests. Each may be nil, is called
// from the registry's goroutines, possibly at the same time, and must not block.
type Hooks struct {
	// Call is told of each script call: the script's name, how many members, pins
	// or services it was about, how long it took, and its error, if any.
	Call func(script string, n int, took time.Duration, err error)

	// Joined is told when this node became a member of a service (again), why, and
	// how many pins it restored. After CauseDead other nodes may have taken this
	// incarnation for dead.
	Joined func(service string, kind MemberKind, cause Cause, pins int)

	// Reaped is told when this node removed a dead member and, for a gateway, how
	// many pins of it.
	Reaped func(service string, kind MemberKind, pins int)

	// Rewritten is told how many entries of users and groups this node writes again,
	// because Redis may have lost them or others took the node for dead.
	Rewritten func(entries int)
}

// Cause says why a membership was written to Redis.
type Cause string

// The causes of an announcement, or of a new generation of a gateway.
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
	if h.Joined == nil {
		h.Joined = func(string, MemberKind, Cause, int) {}
	}
	if h.Reaped == nil {
		h.Reaped = func(string, MemberKind, int) {}
	}
	if h.Rewritten == nil {
		h.Rewritten = func(int) {}
	}
	return h
}
