package link

import (
	"log/slog"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// inbox is the side of a Mesh that the bus sees: the Receiver of this node's
// channel.
type inbox Mesh

// Datagram sorts out which link a datagram belongs to.
func (in *inbox) Datagram(b []byte) {
	m := (*Mesh)(in)
	if m.signer != nil {
		var ok bool
		if b, ok = m.signer.verify(b, m.cfg.Self.Node); !ok {
			m.reject(RejectForged)
			m.warnForged()
			return
		}
	}
	body, err := open(b, &m.in)
	if err != nil {
		m.reject(RejectMalformed)
		return
	}
	h, self := &m.in, m.cfg.Self
	if string(h.node) == string(self.Node) {
		m.reject(RejectOwn)
		m.warnNamesake(h.epoch)
		return
	}
	l, old, reason := m.resolve(h)
	if old != nil {
		old.supersede()
	}
	switch {
	case l == nil:
		m.reject(reason)
	case h.to == self.Epoch:
		l.receive(h, body)
	case h.to < self.Epoch:
		// Meant for an earlier incarnation of this node. An acknowledgement from
		// this one tells the peer that the other is gone.
		m.reject(RejectOtherEpoch)
		l.mu.Lock()
		l.ackDue = true
		l.unlock()
	default:
		m.reject(RejectOtherEpoch)
		m.warnNamesake(h.to)
	}
}

// Gap asks all peers what they sent in the meantime.
func (in *inbox) Gap() {
	for _, l := range (*Mesh)(in).Links() {
		l.mu.Lock()
		l.askDue = l.askDue || !l.over && !l.local && l.touched()
		l.unlock()
	}
}

// resolve finds the link that a datagram came on. old is the link that was
// replaced because the datagram is of a later incarnation. l is nil, with a
// reason, if the datagram must not be used.
func (m *Mesh) resolve(h *header) (l, old *Link, reason Rejection) {
	m.mu.RLock()
	l = m.peers[wire.NodeID(h.node)]
	m.mu.RUnlock()
	if l != nil && l.peer.Epoch == h.epoch {
		return l, nil, ""
	}
	l, old = m.link(wire.Incarnation{Node: wire.NodeID(h.node), Epoch: h.epoch}, true)
	switch {
	case l == nil:
		return nil, old, RejectTooManyPeers
	case l.peer.Epoch != h.epoch:
		return nil, old, RejectOldEpoch
	}
	return l, old, ""
}

// supersede ends the link to an incarnation that was replaced.
func (l *Link) supersede() {
	l.recvMu.Lock()
	l.mu.Lock()
	l.reset(CauseSuperseded, l.gen, l.mesh.now())
	l.mu.Unlock()
	l.recvMu.Unlock()
}

func (m *Mesh) warnForged() {
	if !m.warnedForged.Swap(true) {
		m.cfg.Logger.Error("a datagram is not signed with a key of this node; if this is no attack, nodes have different backplane keys",
			slog.String("self", m.cfg.Self.String()))
	}
}

func (m *Mesh) warnNamesake(e wire.Epoch) {
	if e > m.cfg.Self.Epoch && !m.warned.Swap(true) {
		m.cfg.Logger.Error("a later process uses this node's id; every running node needs an id of its own",
			slog.String("self", m.cfg.Self.String()), slog.Uint64("other_epoch", uint64(e)))
	}
}
