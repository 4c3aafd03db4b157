package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Mesh is all links of one node, and its inbox. Its methods may be called from
// any goroutine.
type Mesh struct {
	// Immutable.
	cfg        Config
	limits     limits
	maxFrame   int
	signer     *signer // nil: datagrams are not signed
	now        func() time.Time
	self       *Link         // the loopback
	loopWake   chan struct{} // capacity 1
	subscribed chan struct{}
	done       chan struct{} // closed when Run ended

	started      atomic.Bool
	warnedForged atomic.Bool
	warned       atomic.Bool // that another process has this node's id
	timers       timers
	waiters      sync.Pool // of *waiter
	in           header    // owned by the bus's receive goroutine

	mu     sync.RWMutex // taken before Link.mu
	closed bool
	peers  map[wire.NodeID]*Link // the latest known incarnation of each node
	graves map[wire.NodeID]grave // of dropped links; none if datagrams are not signed

	rejectMu sync.Mutex
	rejected map[Rejection]uint64
}

// NewMesh returns a mesh that does nothing until Run. Frames can be sent before.
func NewMesh(cfg Config) (*Mesh, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	datagram := cfg.Bus.MaxDatagram()
	m := &Mesh{
		cfg: cfg,
		limits: limits{
			windowFrames: cfg.WindowFrames, windowBytes: cfg.WindowBytes, controlBytes: cfg.ControlBytes,
			maxBody: min(cfg.MaxBatchBytes, datagram) - maxHeader,
			minRTO:  cfg.MinRTO, maxRTO: cfg.MaxRTO, probeInterval: cfg.ProbeInterval,
		},
		signer:     newSigner(cfg.Key, cfg.OldKey),
		now:        time.Now,
		loopWake:   make(chan struct{}, 1),
		subscribed: make(chan struct{}),
		done:       make(chan struct{}),
		peers:      map[wire.NodeID]*Link{},
		graves:     map[wire.NodeID]grave{},
		rejected:   map[Rejection]uint64{},
		waiters:    sync.Pool{New: newWaiter},
	}
	largest := min(datagram-maxHeader, cfg.WindowBytes)
	m.maxFrame = largest - uvarintLen(uint64(largest))
	m.timers.wake = make(chan struct{}, 1)
	m.timers.start = m.now()
	m.self = newLink(m, cfg.Self)
	return m, nil
}

// Run subscribes to this node's inbox and drives the links until ctx ends. It
// returns when every goroutine it started has ended and no Handler call is under
// way; blocked Sends have then returned [ErrClosed]. It can be called once.
func (m *Mesh) Run(ctx context.Context) error {
	if m.started.Swap(true) {
		return errors.New("link: Mesh.Run was called twice")
	}
	defer m.close()
	channel := m.cfg.Bus.Channel(m.cfg.Self.Node)
	sub, err := m.cfg.Bus.Subscribe(channel, (*inbox)(m))
	if err != nil {
		return fmt.Errorf("link: subscribe to %s: %w", channel, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.loop(ctx) })
	wg.Go(func() {
		select {
		case <-sub.Ready():
			close(m.subscribed)
		case <-ctx.Done():
		}
	})
	m.drive(ctx)
	sub.Close()
	wg.Wait()
	return nil
}

func (m *Mesh) close() {
	m.mu.Lock()
	m.closed = true
	links := append(slices.Collect(maps.Values(m.peers)), m.self)
	m.mu.Unlock()
	for _, l := range links {
		l.end()
	}
	close(m.done)
}

// end makes the link refuse everything from now on.
func (l *Link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.refuse, l.over = ErrClosed, true
		l.waiting.failAll(ErrClosed)
	}
}

// Subscribed is closed when the inbox is subscribed for the first time: from
// then on peers can reach this node.
func (m *Mesh) Subscribed() <-chan struct{} { return m.subscribed }

// MaxFrame is the largest frame that Send takes, head and payload together, in
// bytes.
func (m *Mesh) MaxFrame() int { return m.maxFrame }

// To returns the link to a peer, and makes it if need be. To(self) is the
// loopback, which skips the bus. If a later incarnation of the peer's node is
// known, the link that To returns refuses everything with [ErrGone]; if the mesh
// only knew an earlier one, that one's link is reset. To never returns nil.
func (m *Mesh) To(peer wire.Incarnation) *Link {
	if peer == m.cfg.Self {
		return m.self
	}
	m.mu.RLock()
	l := m.peers[peer.Node]
	m.mu.RUnlock()
	if l != nil && l.peer == peer {
		return l
	}
	l, old := m.link(peer, false)
	if old != nil {
		old.mu.Lock()
		old.doom(CauseSuperseded)
		old.mu.Unlock()
	}
	if l.peer != peer {
		l = newLink(m, peer)
		l.refuse, l.over = ErrGone, true
	}
	return l
}

// link returns the link to the latest incarnation of a node, which is peer unless
// a later one is known already. It makes the link if need be; a bounded call
// returns nil when there are too many. old is the link that the new one replaces,
// for the caller to end.
func (m *Mesh) link(peer wire.Incarnation, bounded bool) (l, old *Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l = m.peers[peer.Node]; l != nil && l.peer.Epoch >= peer.Epoch {
		return l, nil
	}
	if l == nil && bounded && len(m.peers) >= m.cfg.MaxPeers && !m.evict() {
		return nil, nil
	}
	old, l = l, newLink(m, peer)
	if !m.exhume(l) {
		return l, nil
	}
	if m.closed {
		l.refuse, l.over = ErrClosed, true
	}
	m.peers[peer.Node] = l
	return l, old
}

// evict makes room for a link by dropping a forgotten one. The caller holds m.mu.
func (m *Mesh) evict() bool {
	for node, l := range m.peers {
		l.mu.Lock()
		drop := l.forgotten && !l.touched()
		if drop {
			l.refuse, l.over = ErrGone, true
		}
		l.mu.Unlock()
		if drop {
			m.bury(l)
			delete(m.peers, node)
			return true
		}
	}
	return false
}

// drop removes a link whose peer was forgotten long ago.
func (m *Mesh) drop(l *Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peers[l.peer.Node] == l {
		m.bury(l)
		delete(m.peers, l.peer.Node)
	}
}

// Forget says that a peer is believed dead. Its link is reset: blocked Sends
// return, Handler.Reset is called soon (from another goroutine), and datagrams
// that the peer sent before are rejected. Should it live after all, it learns of
// the reset as soon as it can be reached, and the link can be used again by both.
func (m *Mesh) Forget(peer wire.Incarnation) {
	if peer == m.cfg.Self {
		return
	}
	l := m.To(peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.forgotten || l.touched() {
		l.doom(CauseForgotten)
	}
}

// Flush waits until everything that was sent before the call is acknowledged or
// lost to a reset. The error is [ErrClosed] or the cause of ctx's end.
func (m *Mesh) Flush(ctx context.Context) error {
	for _, l := range append(m.Links(), m.self) {
		flushed := l.flushed()
		if flushed == nil {
			continue
		}
		select {
		case <-flushed:
		case <-m.done:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Links returns all links but the loopback, forgotten ones included.
func (m *Mesh) Links() []*Link {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Values(m.peers))
}

// Stats returns the numbers of the mesh.
func (m *Mesh) Stats() MeshStats {
	m.mu.RLock()
	links := len(m.peers)
	m.mu.RUnlock()
	m.rejectMu.Lock()
	defer m.rejectMu.Unlock()
	return MeshStats{Links: links, Rejected: maps.Clone(m.rejected)}
}

func (m *Mesh) reject(reason Rejection) {
	m.rejectMu.Lock()
	m.rejected[reason]++
	m.rejectMu.Unlock()
	if f := m.cfg.Hooks.Rejected; f != nil {
		f(reason)
	}
}
