package backplane

import (
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
)

// Healthy reports whether this node reaches Redis and can be reached through it.
func (b *Backplane) Healthy() bool { return b.Ready() == nil }

// Ready says why the node cannot be reached by others now; nil if it can.
func (b *Backplane) Ready() error {
	select {
	case <-b.done:
		return errors.New("the backplane is closed")
	default:
	}
	if !b.bus.Healthy() {
		return fmt.Errorf("Redis (%s): what this node publishes has not come back for %v",
			b.top, b.bus.CanaryAge().Round(100*time.Millisecond))
	}
	return nil
}

// CanaryAge is how long ago this node was last known to reach Redis and to be reached
// through it.
func (b *Backplane) CanaryAge() time.Duration { return b.bus.CanaryAge() }

// forgetLost tells the mesh who is not among the living any more.
func (b *Backplane) forgetLost(old, new *registry.View) {
	for _, inc := range new.Lost(old) {
		if inc != b.self {
			b.mesh.Forget(inc)
		}
	}
}
