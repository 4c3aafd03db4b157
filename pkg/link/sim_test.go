package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// world is a deterministic network: no goroutine runs, time moves when told to,
// and every datagram in flight can be delivered, lost, repeated or overtaken.
type world struct {
	fatal   func(format string, args ...any)
	now     time.Time
	nodes   map[wire.NodeID]*node
	all     []*node // replaced ones included
	flying  []flight
	blocked map[[2]wire.NodeID]bool
	truth   func() bool // whether the next publication reports its receivers
	config  Config      // template
}

type flight struct {
	from, to wire.NodeID
	data     []byte
}

// node is one incarnation in a world, with what its handler saw.
type node struct {
	w      *world
	mesh   *Mesh
	self   wire.Incarnation
	ready  []Source
	queued map[Source]bool
	deaf   bool // not subscribed

	// By peer and generation: what was accepted by Send, and what was delivered.
	sent     map[lifeKey][]string
	received map[lifeKey][]string
	resets   map[wire.Incarnation][]Reset
	onReset  func() // called by Reset; may be nil
}

type lifeKey struct {
	peer wire.Incarnation
	gen  uint64
}

func newWorld(t testing.TB, config Config) *world {
	return &world{
		fatal: t.Fatalf, now: time.Unix(1_700_000_000, 0), nodes: map[wire.NodeID]*node{},
		blocked: map[[2]wire.NodeID]bool{}, truth: func() bool { return true }, config: config,
	}
}

// start adds a node, or replaces it by its next incarnation.
func (w *world) start(id wire.NodeID, epoch wire.Epoch) *node {
	n := &node{
		w: w, self: wire.Incarnation{Node: id, Epoch: epoch}, queued: map[Source]bool{},
		sent: map[lifeKey][]string{}, received: map[lifeKey][]string{}, resets: map[wire.Incarnation][]Reset{},
	}
	cfg := w.config
	cfg.Self, cfg.Bus, cfg.Handler = n.self, n, n
	m, err := NewMesh(cfg)
	if err != nil {
		w.fatal("NewMesh: %v", err)
	}
	m.now = func() time.Time { return w.now }
	m.timers.start = w.now
	n.mesh = m
	w.nodes[id] = n
	w.all = append(w.all, n)
	return n
}

func (n *node) Channel(id wire.NodeID) string { return string(id) }
func (n *node) MaxDatagram() int              { return 1 << 20 }
func (n *node) Subscribe(string, Receiver) (Subscription, error) {
	panic("a world delivers by itself")
}

func (n *node) Ready(src Source) {
	if !n.queued[src] {
		n.queued[src] = true
		n.ready = append(n.ready, src)
	}
}

// life names the current generation of the link to a peer.
func (n *node) life(peer wire.Incarnation) lifeKey {
	n.mesh.mu.RLock()
	defer n.mesh.mu.RUnlock()
	return lifeKey{peer, n.mesh.peers[peer.Node].gen}
}

func (n *node) Frame(from wire.Incarnation, frame []byte) {
	k := n.life(from)
	n.received[k] = append(n.received[k], string(frame))
}

func (n *node) Reset(peer wire.Incarnation, r Reset) {
	if err := n.mesh.To(peer).SendControl(nil); !errors.Is(err, ErrReset) {
		n.w.fatal("%v: a frame to %v was accepted before its reset was told: %v", n.self, peer, err)
	}
	n.resets[peer] = append(n.resets[peer], r)
	if n.onReset != nil {
		n.onReset()
	}
	if r.LastSent == 0 {
		return
	}
	// The generation that ended is the newest in which something was sent.
	ended := lifeKey{peer: peer}
	for k := range n.sent {
		if k.peer == peer && k.gen > ended.gen {
			ended.gen = k.gen
		}
	}
	if int(r.LastSent) != len(n.sent[ended]) {
		n.w.fatal("%v: reset of generation %d says %d frames were sent, not %d", n.self, ended.gen, r.LastSent, len(n.sent[ended]))
	}
	for _, p := range n.w.all {
		if got := len(p.received[lifeKey{n.self, ended.gen}]); p.self == peer && got < int(r.LastAcked) {
			n.w.fatal("%v: reset says %d frames arrived, but %v got %d", n.self, r.LastAcked, peer, got)
		}
	}
}

// send sends one numbered frame of a given size, if the window has room.
func (n *node) send(to wire.Incarnation, size int) bool {
	l := n.mesh.To(to)
	if !l.snd.fits(size+8) || l.refuse != nil {
		return false
	}
	k := n.life(to)
	frame := n.numbered(k, size)
	if err := l.Send(context.Background(), frame[:8], frame[8:]); err != nil {
		n.w.fatal("Send: %v", err)
	}
	n.sent[k] = append(n.sent[k], string(frame))
	return true
}

// control is send with SendControl, which needs no room.
func (n *node) control(to wire.Incarnation, size int) bool {
	l := n.mesh.To(to)
	if l.refuse != nil {
		return false
	}
	k := n.life(to)
	frame := n.numbered(k, size)
	if err := l.SendControl(frame); err != nil {
		return false
	}
	n.sent[k] = append(n.sent[k], string(frame))
	return true
}

func (n *node) numbered(k lifeKey, size int) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(n.sent[k])+1)), make([]byte, size)...)
}

// flush lets the bus of a node take one datagram of each ready source.
func (n *node) flush() {
	for range len(n.ready) {
		src := n.ready[0]
		n.ready = n.ready[1:]
		delete(n.queued, src)
		b, more := src.Next(nil)
		if len(b) > 0 {
			to := wire.NodeID(src.Destination())
			peer := n.w.nodes[to]
			receivers := int64(0)
			if peer != nil && !peer.deaf {
				receivers = 1
				if !n.w.blocked[[2]wire.NodeID{n.self.Node, to}] {
					n.w.flying = append(n.w.flying, flight{n.self.Node, to, b})
				}
			}
			if n.w.truth() {
				src.Published(receivers, nil)
			} else {
				src.Published(-1, nil)
			}
		}
		if more {
			n.Ready(src)
		}
	}
}

// deliver delivers datagram i of those in flight; keep leaves it in flight too.
func (w *world) deliver(i int, keep bool) {
	f := w.flying[i]
	if !keep {
		w.flying = append(w.flying[:i:i], w.flying[i+1:]...)
	}
	n := w.nodes[f.to]
	if n == nil || n.deaf {
		return
	}
	n.checkWindow(func() { (*inbox)(n.mesh).Datagram(append([]byte(nil), f.data...)) })
}

// checkWindow runs f and checks that memory is bounded afterwards.
func (n *node) checkWindow(f func()) {
	f()
	for _, l := range n.mesh.Links() {
		if l.rcv.bytes > n.mesh.limits.windowBytes {
			n.w.fatal("%v holds %d bytes out of order", n.self, l.rcv.bytes)
		}
		if limit := n.mesh.limits.windowBytes + n.mesh.limits.controlBytes; l.snd.bytes > limit || l.snd.data.len() > limit {
			n.w.fatal("%v keeps %d bytes unacknowledged", n.self, l.snd.bytes)
		}
	}
}

// sleep moves time on and runs timers that came due.
func (w *world) sleep(d time.Duration) {
	w.now = w.now.Add(d)
	for _, n := range w.nodes {
		n.mesh.tick(w.now)
	}
}

// settle runs everything, undisturbed, for d in steps of 5 ms.
func (w *world) settle(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.sleep(5 * time.Millisecond) {
		w.exchange()
	}
	w.exchange()
}

// exchange flushes and delivers until nothing is ready or in flight.
func (w *world) exchange() {
	for i := 0; ; i++ {
		if i == 100_000 {
			w.fatal("the nodes do not stop talking")
		}
		busy := len(w.flying) > 0
		for _, n := range w.nodes {
			busy = busy || len(n.ready) > 0
			n.flush()
		}
		for len(w.flying) > 0 {
			w.deliver(0, false)
		}
		if !busy {
			return
		}
	}
}

// checkAll checks that everybody received a prefix of what was sent, once and in
// order, and was told of the end of every generation in which something went on.
func (w *world) checkAll() {
	w.sleep(0) // resets that were ordered are carried out
	for _, a := range w.all {
		for _, b := range w.all {
			w.checkPrefixes(a, b)
		}
		ended := map[lifeKey]bool{}
		for _, lives := range []map[lifeKey][]string{a.sent, a.received} {
			for k := range lives {
				if l := a.mesh.To(k.peer); l.over || k.gen < l.gen {
					ended[k] = true
				}
			}
		}
		for k := range ended {
			resets := 0
			for other := range ended {
				if other.peer == k.peer {
					resets++
				}
			}
			if len(a.resets[k.peer]) < resets {
				w.fatal("%v: %d generations with %v ended, %d resets were reported", a.self, resets, k.peer, len(a.resets[k.peer]))
			}
		}
	}
}

// checkPrefixes checks that in every generation b received a prefix of what a
// sent.
func (w *world) checkPrefixes(a, b *node) {
	for k, got := range b.received {
		if k.peer != a.self {
			continue
		}
		want := a.sent[lifeKey{b.self, k.gen}]
		if len(got) > len(want) {
			w.fatal("%v -> %v, generation %d: %d frames were sent, %d delivered", a.self, b.self, k.gen, len(want), len(got))
		}
		for i := range got {
			if got[i] != want[i] {
				w.fatal("%v -> %v, generation %d: frame %d is %s", a.self, b.self, k.gen, i+1, describe(got[i]))
			}
		}
	}
}

// checkComplete checks that b received all that a sent in the current generation.
func (w *world) checkComplete(a, b *node) {
	gen := a.mesh.To(b.self).gen
	sent, got := a.sent[lifeKey{b.self, gen}], b.received[lifeKey{a.self, gen}]
	if len(sent) != len(got) {
		w.fatal("%v -> %v, generation %d: %d frames sent, %d delivered", a.self, b.self, gen, len(sent), len(got))
	}
	if l := a.mesh.To(b.self); l.snd.frames != 0 || l.snd.bytes != 0 || l.snd.batches.len() != 0 || l.snd.data.len() != 0 || l.snd.lost != 0 {
		w.fatal("%v -> %v: everything arrived, but %d frames are kept", a.self, b.self, l.snd.frames)
	}
	if l := b.mesh.To(a.self); l.rcv.bytes != 0 || len(l.rcv.held) != 0 {
		w.fatal("%v -> %v: everything arrived, but %d bytes are held", a.self, b.self, l.rcv.bytes)
	}
}

func describe(frame string) string {
	if len(frame) < 8 {
		return strconv.Quote(frame)
	}
	return fmt.Sprintf("number %d, %d bytes", binary.BigEndian.Uint64([]byte(frame)), len(frame))
}
