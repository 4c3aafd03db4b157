package backplane

import (
	"sync"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// peer is all streams between this node and one other incarnation.
type peer struct {
	inc wire.Incarnation

	mu       sync.Mutex
	opened   map[wire.StreamID]*Stream // by this node
	accepted map[wire.StreamID]*Stream // opened by the peer
	gone     bool                      // reset: demux has forgotten this peer
}

func (p *peer) table(acceptor bool) map[wire.StreamID]*Stream {
	if acceptor {
		return p.accepted
	}
	return p.opened
}

// add puts s into its table. It reports false if the peer is gone or the id in use.
func (p *peer) add(s *Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.table(s.acceptor)
	if p.gone || t[s.id] != nil {
		return false
	}
	s.peer = p
	t[s.id] = s
	return true
}

func (p *peer) get(id wire.StreamID, acceptor bool) *Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table(acceptor)[id]
}

func (p *peer) remove(s *Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.table(s.acceptor); t[s.id] == s {
		delete(t, s.id)
	}
}

// end empties both tables for good, and returns their streams marked as over.
func (p *peer) end() []*Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	all := make([]*Stream, 0, len(p.opened)+len(p.accepted))
	for _, t := range []map[wire.StreamID]*Stream{p.opened, p.accepted} {
		for _, s := range t {
			s.over.Store(true)
			all = append(all, s)
		}
		clear(t)
	}
	return all
}

// demux hands the frames of all peers to their streams. It is the mesh's handler.
type demux struct {
	dropped func(Drop)
	link    func(wire.Incarnation) *link.Link

	mu       sync.RWMutex // guards what follows
	peers    map[wire.Incarnation]*peer
	services map[string]*acceptor
	nodes    map[wire.Kind]NodeHandler // of frames that belong to no stream
	resets   []func(wire.Incarnation, link.Reset)
}

var _ link.Handler = (*demux)(nil)

// acceptor is one registration of Serve.
type acceptor struct {
	accept func(*Stream, wire.Open) StreamHandler
}

func newDemux(dropped func(Drop)) *demux {
	return &demux{
		dropped:  dropped,
		peers:    map[wire.Incarnation]*peer{},
		services: map[string]*acceptor{},
		nodes:    map[wire.Kind]NodeHandler{},
	}
}

// peer returns the tables of an incarnation, and makes them if need be.
func (d *demux) peer(inc wire.Incarnation) *peer {
	d.mu.RLock()
	p := d.peers[inc]
	d.mu.RUnlock()
	if p != nil {
		return p
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p = d.peers[inc]; p == nil {
		p = &peer{inc: inc, opened: map[wire.StreamID]*Stream{}, accepted: map[wire.StreamID]*Stream{}}
		d.peers[inc] = p
	}
	return p
}

// Frame implements [link.Handler].
func (d *demux) Frame(from wire.Incarnation, frame []byte) {
	h, body, err := wire.ParseHeader(frame)
	if err != nil || !travels(h) {
		d.dropped(DropMalformed)
		return
	}
	if h.Kind >= wire.KindPush {
		d.node(from, h, body)
		return
	}
	p := d.peer(from)
	if h.Kind == wire.KindOpen {
		d.open(p, h.Stream, body)
		return
	}
	s := p.get(h.Stream, !h.FromAcceptor)
	if s == nil {
		d.dropped(DropUnknownStream)
		return
	}
	s.handler.Frame(h.Kind, body)
}

// travels reports whether a kind goes in the direction of its frame.
func travels(h wire.Header) bool {
	switch h.Kind {
	case wire.KindData, wire.KindCredit, wire.KindClose, wire.KindCommand:
		return true
	case wire.KindOpen, wire.KindIdentity, wire.KindPush, wire.KindRequest, wire.KindWatch, wire.KindPresence:
		return !h.FromAcceptor
	default:
		return h.FromAcceptor
	}
}

// open accepts or refuses a stream.
func (d *demux) open(p *peer, id wire.StreamID, body []byte) {
	o, err := wire.ParseOpen(body)
	if err != nil {
		d.dropped(DropMalformed)
		return
	}
	s := &Stream{peer: p, link: d.link(p.inc), id: id, acceptor: true}
	d.mu.RLock()
	a := d.services[o.Service]
	d.mu.RUnlock()
	if a == nil {
		d.dropped(DropUnknownService)
		_ = s.SendRefuse(wire.Refuse{Code: wire.CodeUnavailable, Reason: "this node does not serve " + o.Service})
		return
	}
	if !p.add(s) {
		d.dropped(DropDuplicate)
		return
	}
	// No frame or reset of this peer can come before accept returns.
	if s.handler = a.accept(s, o); s.handler == nil {
		s.Done()
	}
}

// openStream makes a stream that this node opens.
func (d *demux) openStream(inc wire.Incarnation, id wire.StreamID, h StreamHandler) *Stream {
	s := &Stream{link: d.link(inc), id: id, handler: h}
	for !d.peer(inc).add(s) { // reset just now: the next one is fresh
	}
	return s
}

// Reset implements [link.Handler].
func (d *demux) Reset(inc wire.Incarnation, r link.Reset) {
	d.mu.Lock()
	p := d.peers[inc]
	delete(d.peers, inc) // made again when needed
	resets := d.resets
	d.mu.Unlock()
	for _, f := range resets {
		f(inc, r)
	}
	if p == nil {
		return
	}
	for _, s := range p.end() {
		s.handler.Reset(r)
	}
}
