package link

import "github.com/boreas-ws/boreas/pkg/wire"

// grave is what remains of a link that was dropped: enough not to take what its peer
// signed, and somebody recorded, for something new.
type grave struct {
	epoch wire.Epoch
	gen   uint64 // of the link; nothing was ever accepted in it
}

// maxGraves bounds the graves of a mesh. Beyond it any of them is forgotten.
const maxGraves = 1 << 16

// bury remembers a link that is being dropped. The caller holds m.mu.
func (m *Mesh) bury(l *Link) {
	if m.signer == nil { // who can play datagrams again can as well make them up
		return
	}
	if len(m.graves) >= maxGraves {
		for node := range m.graves {
			delete(m.graves, node)
			break
		}
	}
	l.mu.Lock()
	m.graves[l.peer.Node] = grave{l.peer.Epoch, l.gen}
	l.mu.Unlock()
}

// exhume has a new link go on where the dropped one to the same peer ended. If the
// peer's node has had a later incarnation, it makes l the ended link to that one, and
// returns false. The caller holds m.mu.
func (m *Mesh) exhume(l *Link) bool {
	g, ok := m.graves[l.peer.Node]
	switch {
	case !ok:
		return true
	case g.epoch > l.peer.Epoch:
		l.peer.Epoch, l.refuse, l.over = g.epoch, ErrGone, true
		return false
	case g.epoch == l.peer.Epoch:
		l.gen = g.gen
	}
	delete(m.graves, l.peer.Node)
	return true
}
