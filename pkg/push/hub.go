package push

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Receiver is a client's connection as this package sees it.
type Receiver interface {
	// SocketID names the socket.
	SocketID() wire.SocketID
	// User is the socket's user; "" for nobody.
	User() string
	// Encoding is that of the connection.
	Encoding() envelope.Encoding
	// Push hands over one encoded message. It must not block and must not change or
	// keep payload, except that it may keep it until a Delivery that it answered
	// with Waiting or Queued is settled.
	Push(d *Delivery, payload []byte) Outcome
}

// Local is a gateway on this node.
type Local interface {
	// Name is the gateway's name.
	Name() string
	// Receiver returns the connection of a socket; nil if it is not here.
	Receiver(id wire.SocketID) Receiver
	// Receivers calls f for every connection.
	Receivers(f func(Receiver))
}

// Hub is one node's part in pushing: it sends pushes, and delivers those of others to
// the connections of the gateways on its node. See [Of].
type Hub struct {
	// immutable
	bp       *backplane.Backplane
	registry *registry.Registry
	self     wire.Incarnation

	log     atomic.Pointer[slog.Logger]
	hooks   atomic.Pointer[Hooks]
	numbers atomic.Uint64 // of pushes and requests
	index   index

	mu       sync.Mutex
	locals   []Local                       // guarded by mu
	inbound  map[wire.Incarnation]*inbound // guarded by mu: pushes to deliver
	flows    map[flowKey]*flow             // guarded by mu: pushes on their way
	waiting  map[wire.StreamID]*Pending    // guarded by mu: pushes without all results
	asked    map[wire.StreamID]*question   // guarded by mu: requests without response
	handlers map[string]RequestHandler     // guarded by mu

	routes   routes
	watches  watches
	outboxes outboxes
	holds    holds
}

// hubKey is what a hub is attached to its backplane under.
type hubKey struct{}

// Of returns the hub of a backplane: there is one for each.
func Of(bp *backplane.Backplane) *Hub {
	return bp.Attach(hubKey{}, func() any { return newHub(bp) }).(*Hub)
}

func newHub(bp *backplane.Backplane) *Hub {
	h := &Hub{
		bp: bp, registry: bp.Registry(), self: bp.Self(),
		inbound:  map[wire.Incarnation]*inbound{},
		flows:    map[flowKey]*flow{},
		waiting:  map[wire.StreamID]*Pending{},
		asked:    map[wire.StreamID]*question{},
		handlers: map[string]RequestHandler{},
	}
	h.log.Store(slog.New(slog.DiscardHandler))
	h.Observe(Hooks{})
	h.index.hub = h
	h.index.init()
	h.routes.init(h)
	h.watches.init(h)
	h.outboxes.init(h)
	h.control()
	for kind, handle := range map[wire.Kind]backplane.NodeHandler{
		wire.KindPush: h.received, wire.KindPushResult: h.answered,
		wire.KindRequest: h.request, wire.KindResponse: h.response,
		wire.KindWatch: h.watch, wire.KindPresence: h.presence,
	} {
		if _, err := bp.Handle(kind, handle); err != nil {
			panic(err) // nothing else handles these
		}
	}
	bp.OnReset(h.reset)
	h.registry.OnRevived(h.revived)
	return h
}

// Backplane is what the hub is part of.
func (h *Hub) Backplane() *backplane.Backplane { return h.bp }

// Observe sets the hooks, in place of those before.
func (h *Hub) Observe(hooks Hooks) {
	hooks = hooks.orNothing()
	h.hooks.Store(&hooks)
}

// SetLogger sets where trouble is logged.
func (h *Hub) SetLogger(log *slog.Logger) { h.log.Store(log) }

// AddLocal lets a gateway on this node take part. stop undoes it.
func (h *Hub) AddLocal(l Local) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.locals = append(slices.Clone(h.locals), l)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.locals = slices.DeleteFunc(slices.Clone(h.locals), func(have Local) bool { return have == l })
	}
}

func (h *Hub) gateways() []Local {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.locals
}

// SocketID makes the id of a socket on a gateway's node out of a random part: from it
// every node can tell where the socket is. It is opaque to everybody else.
func SocketID(random string, node wire.NodeID) wire.SocketID {
	return wire.SocketID(random + "." + string(node))
}

// nodeOf is the inverse of SocketID.
func nodeOf(id wire.SocketID) (wire.NodeID, bool) {
	_, node, ok := strings.Cut(string(id), ".")
	return wire.NodeID(node), ok
}

// reset is told when the link to a peer broke: nothing that is on its way will be
// answered.
func (h *Hub) reset(peer wire.Incarnation, _ link.Reset) {
	h.mu.Lock()
	delete(h.flows, flowKey{peer, false})
	delete(h.flows, flowKey{peer, true})
	var lost []*Pending
	for _, p := range h.waiting {
		if _, ok := p.gateways[peer]; ok {
			lost = append(lost, p)
		}
	}
	var unanswered []*question
	for _, q := range h.asked {
		if q.peer == peer {
			unanswered = append(unanswered, q)
		}
	}
	h.mu.Unlock()
	h.index.unfeed(peer)
	h.watches.again(peer)
	for _, p := range lost {
		h.settle(p, peer, nil)
	}
	for _, q := range unanswered {
		h.answer(q, wire.Response{Error: link.ErrReset.Error()})
	}
}

// revived closes the sockets of users and groups, to which pushes may have been missing
// while this node was taken for dead: their clients come back and know it.
func (h *Hub) revived() {
	for _, l := range h.gateways() {
		l.Receivers(func(r Receiver) {
			c, ok := r.(Connection)
			if !ok {
				return
			}
			if m := c.Membership(); m != nil && (m.User() != "" || len(m.Groups()) > 0) {
				c.Disconnect(wire.CloseRestart, "the gateway was out of touch")
			}
		})
	}
}

// ended returns a context that ends with ctx or the backplane.
func (h *Hub) ended(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	go func() {
		select {
		case <-h.bp.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
