package link

import (
	"context"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Link is the connection to one incarnation of a peer.
type Link struct{ peer wire.Incarnation }

// Peer returns whom the link leads to.
func (l *Link) Peer() wire.Incarnation { return l.peer }

// Send copies head and payload as one frame. It blocks while the window is full.
func (l *Link) Send(ctx context.Context, head, payload []byte) error { return nil }

// SendControl copies head as one frame and never blocks.
func (l *Link) SendControl(head []byte) error { return nil }

// Stats returns the link's numbers.
func (l *Link) Stats() Stats { return Stats{} }
