package backplane

import (
	"context"
	"fmt"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// NodeHandler takes the frames of one kind that belong to no stream, with the number
// that their sender gave them. It may keep body. It is called from the goroutine
// that receives from the peer, in the order in which the frames were sent, and must
// not block.
type NodeHandler func(from wire.Incarnation, number wire.StreamID, body []byte)

// Handle lets other nodes send frames of a kind that belongs to no stream: from
// [wire.KindPush] on. A kind can be handled once at a time; frames of kinds that are
// not handled are dropped and counted.
func (b *Backplane) Handle(kind wire.Kind, h NodeHandler) (stop func(), err error) {
	return b.demux.handle(kind, h)
}

func (d *demux) handle(kind wire.Kind, h NodeHandler) (func(), error) {
	if kind < wire.KindPush {
		return nil, fmt.Errorf("backplane: frames of kind %d belong to streams", kind)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nodes[kind] != nil {
		return nil, fmt.Errorf("backplane: frames of kind %d are handled already", kind)
	}
	d.nodes[kind] = h
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.nodes, kind)
	}, nil
}

// SendFrame sends a frame that belongs to no stream, in order with everything else
// that this node sends to peer. It copies body, blocks while the link's window is
// full, and returns [link.ErrReset] after a reset, or ctx's error, which matters only
// while it blocks.
func (b *Backplane) SendFrame(ctx context.Context, peer wire.Incarnation, kind wire.Kind, number wire.StreamID, body []byte) error {
	room := heads.Get().(*[headRoom]byte)
	defer heads.Put(room)
	return b.mesh.To(peer).Send(ctx, nodeHeader(kind, number).Append(room[:0]), body)
}

// SendAnswer is [Backplane.SendFrame] for answers. It never blocks: the caller makes
// sure that peers cannot ask for much more than they take.
func (b *Backplane) SendAnswer(peer wire.Incarnation, kind wire.Kind, number wire.StreamID, body []byte) error {
	return b.mesh.To(peer).SendControl(append(nodeHeader(kind, number).Append(nil), body...))
}

// nodeHeader is the header of a frame that belongs to no stream.
func nodeHeader(kind wire.Kind, number wire.StreamID) wire.Header {
	return wire.Header{Kind: kind, FromAcceptor: isAnswer(kind), Stream: number}
}

// isAnswer reports whether frames of a kind answer others.
func isAnswer(kind wire.Kind) bool { return kind == wire.KindPushResult || kind == wire.KindResponse }

// OnReset has f called whenever the link to a peer was reset, as
// [StreamHandler.Reset] is for streams. f must not block.
func (b *Backplane) OnReset(f func(peer wire.Incarnation, r link.Reset)) {
	b.demux.mu.Lock()
	defer b.demux.mu.Unlock()
	b.demux.resets = append(b.demux.resets, f)
}

// Attach returns what was attached to the backplane under key, and has it made first if
// there is nothing: so that all gateways and services of a node share it.
func (b *Backplane) Attach(key any, create func() any) any {
	b.attaching.Lock()
	defer b.attaching.Unlock()
	v, ok := b.attached[key]
	if !ok {
		v = create()
		if b.attached == nil {
			b.attached = map[any]any{}
		}
		b.attached[key] = v
	}
	return v
}

// node hands over a frame that belongs to no stream.
func (d *demux) node(from wire.Incarnation, h wire.Header, body []byte) {
	d.mu.RLock()
	handle := d.nodes[h.Kind]
	d.mu.RUnlock()
	if handle == nil {
		d.dropped(DropUnknownService)
		return
	}
	handle(from, h.Stream, body)
}
