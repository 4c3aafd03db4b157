package backplane

import (
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Healthy reports whether this node reaches Redis and can be reached through it.
func (b *Backplane) Healthy() bool { return b.Ready() == nil }

// Ready says why the node cannot be reached by others now; nil if it can.
func (b *Backplane) Ready() error {
	select {
	case <-b.done:
		return fmt.Errorf("the backplane is closed")
	default:
	}
	if !b.bus.Healthy() {
		return fmt.Errorf("Redis (%s): what this node publishes has not come back for %v",
			b.top, b.bus.CanaryAge().Round(100*time.Millisecond))
	}
	return nil
}

// forgetDead tells the mesh which incarnations the registry has declared dead since
// the last view.
func (b *Backplane) forgetDead(old, new *registry.View) {
	for name, s := range new.Services {
		for inc := range s.Dead {
			if before := old.Services[name]; before != nil {
				if _, known := before.Dead[inc]; known {
					continue
				}
			}
			if inc != b.self && !alive(new, inc) {
				b.mesh.Forget(inc)
			}
		}
	}
}

// alive reports whether an incarnation has a role in any service.
func alive(v *registry.View, inc wire.Incarnation) bool {
	for _, s := range v.Services {
		if s.Instances[inc.Node].Incarnation == inc {
			return true
		}
		if _, ok := s.Gateways[inc]; ok {
			return true
		}
	}
	return false
}

var _ link.Handler = (*demux)(nil)
