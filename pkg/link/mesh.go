package link

import (
	"context"

	"github.com/boreas-ws/boreas/pkg/wire"
)

const maxHeader = 512

// Mesh is all links of one node, and its inbox.
type Mesh struct{ cfg Config }

// NewMesh returns a mesh that does nothing until Run.
func NewMesh(cfg Config) (*Mesh, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Mesh{cfg: cfg}, nil
}

// Run subscribes to this node's inbox and drives the links until ctx ends.
func (m *Mesh) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Subscribed is closed when the inbox is subscribed for the first time.
func (m *Mesh) Subscribed() <-chan struct{} { return nil }

// To returns the link to a peer, and makes it if need be. It never returns nil.
func (m *Mesh) To(peer wire.Incarnation) *Link { return &Link{peer: peer} }

// Forget resets the link to a peer that is known to be dead. It returns at once;
// Handler.Reset follows.
func (m *Mesh) Forget(peer wire.Incarnation) {}

// Flush waits until everything that was sent before the call is acknowledged, or
// its link reset.
func (m *Mesh) Flush(ctx context.Context) error { return nil }

// MaxFrame is the largest frame that Send takes, head and payload together, in bytes.
func (m *Mesh) MaxFrame() int { return 0 }

// Stats returns the sum over all links since the mesh was made.
func (m *Mesh) Stats() MeshStats { return MeshStats{} }
