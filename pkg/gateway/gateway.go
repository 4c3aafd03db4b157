package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// state is how far a gateway has come.
type state uint8

const (
	created  state = iota // Run has not begun
	joining               // Run waits for the registry
	running               // clients are accepted
	draining              // sockets are being closed
	stopping              // Run is about to return
	stopped
)

// Gateway accepts WebSocket clients and carries their messages to services. It is
// an [http.Handler].
type Gateway struct {
	// immutable
	name       string
	bp         *backplane.Backplane
	registry   *registry.Registry
	hub        *push.Hub
	cfg        Config
	hooks      Hooks
	log        *slog.Logger
	headers    []string // that are forwarded
	origins    []origin // that are allowed
	allOrigins bool
	upgrader   *websocket.Upgrader
	deflater   *websocket.Upgrader // for clients that messages are compressed with; nil: for none
	gate       gate
	wheel      *wheel
	pingTicks  ticks // 0: no pings
	peerTicks  ticks // 0: no timeout
	// timingTicks is after how long a request that is timed is given up.
	timingTicks ticks
	over        chan struct{} // closed when Run returns

	routes     atomic.Pointer[routeTable]
	refreshing sync.Mutex // held while a table is made

	mu        sync.Mutex
	state     state
	sockets   map[wire.SocketID]*conn
	accepting int                // handshakes under way
	closing   map[*pin]ticks     // pins that wait for Closed, with the time to give up
	abandoned int                // pins that ended in a drain without Closed
	quiet     chan struct{}      // set while somebody waits for the end of all of the above; then closed
	cancel    context.CancelFunc // ends Run; from joining on
}

// New makes a gateway with the given name, which it shares with its replicas and
// by which services choose the gateways that they announce their routes to. It
// starts nothing.
func New(name string, bp *backplane.Backplane, cfg Config) (*Gateway, error) {
	cfg = cfg.withDefaults()
	errs := []error{cfg.validate()}
	if err := wire.ValidateSlug(name); err != nil {
		errs = append(errs, fmt.Errorf("gateway name: %w", err))
	}
	if bp == nil {
		errs = append(errs, errors.New("gateway.New: the backplane is missing"))
	} else if fits := bp.Mesh().MaxFrame() - frameOverhead; cfg.MaxMessageBytes > fits {
		errs = append(errs, fmt.Errorf("gateway.Config.MaxMessageBytes: %d; the links of this backplane carry %d", cfg.MaxMessageBytes, fits))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	g := &Gateway{
		name:     name,
		bp:       bp,
		registry: bp.Registry(),
		hub:      push.Of(bp),
		cfg:      cfg,
		hooks:    cfg.Hooks.orNothing(),
		log:      cfg.Logger.With("gateway", name),
		headers:  forwardHeaders(cfg.ForwardHeaders),
		wheel:    newWheel(cfg.interval()),
		over:     make(chan struct{}),
		sockets:  make(map[wire.SocketID]*conn),
		closing:  make(map[*pin]ticks),
	}
	if cfg.PingInterval > 0 {
		g.pingTicks = g.wheel.ticks(cfg.PingInterval)
	}
	if cfg.PeerTimeout > 0 {
		g.peerTicks = g.wheel.ticks(cfg.PeerTimeout)
	}
	g.timingTicks = g.wheel.ticks(timingLimit)
	g.origins, g.allOrigins, _ = originPatterns(cfg.AllowedOrigins) // validate has seen that they are well-formed
	g.gate.max, g.gate.rate, g.gate.made = cfg.MaxHandshakes, cfg.AcceptRate, time.Now()
	g.upgrader = g.newUpgrader(false)
	if cfg.Compression {
		g.deflater = g.newUpgrader(true)
	}
	g.routes.Store(compileRoutes(&registry.View{}, name, nil, g.hooks.Requests, g.log))
	return g, nil
}

var _ http.Handler = (*Gateway)(nil)

// Name returns the name that the gateway was made with.
func (g *Gateway) Name() string { return g.name }

// SocketCount returns how many clients are connected.
func (g *Gateway) SocketCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sockets)
}

// CanServePath reports whether a client's message with that path would be sent to
// a service now.
func (g *Gateway) CanServePath(path string) bool {
	p := []byte(path)
	return checkPath(p) == nil && g.routes.Load().lookup(p) != nil
}

// HasRoutes reports whether any service announces routes to this gateway now.
func (g *Gateway) HasRoutes() bool { return len(g.routes.Load().services) > 0 }

// ErrUnreachable is what Ready returns when nothing but Redis is missing: sockets
// that are pinned go on, and it may be back in a moment.
var ErrUnreachable = errors.New("the gateway does not reach Redis")

// Ready returns nil while the gateway accepts clients and reaches Redis, and
// otherwise what keeps it from that, in words for an operator. A load balancer
// should not send clients to a gateway that is not ready; see also
// [ErrUnreachable].
func (g *Gateway) Ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case running:
	case draining:
		return errors.New("the gateway drains")
	case stopping, stopped:
		return errors.New("the gateway is stopped")
	default:
		return errors.New("the gateway has not joined the registry yet")
	}
	if !g.bp.Healthy() {
		return ErrUnreachable
	}
	return nil
}

// admit lets one more client in, or says why not. What it lets in must be passed
// to add or dismiss.
func (g *Gateway) admit() Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state == draining:
		return RefuseDraining
	case g.state != running:
		return RefuseNotReady
	case g.cfg.MaxSockets > 0 && len(g.sockets)+g.accepting >= g.cfg.MaxSockets:
		return RefuseTooMany
	}
	g.accepting++
	return ""
}

// dismiss undoes admit.
func (g *Gateway) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accepting--
	g.checkQuiet()
}

// add takes in a connection whose handshake is done.
func (g *Gateway) add(c *conn) {
	g.mu.Lock()
	g.accepting--
	g.sockets[c.id] = c
	now := g.state
	g.mu.Unlock()
	g.hooks.SocketOpened()
	g.wheel.plan(c, min(jitter(g.pingTicks), c.expiryTicks()))
	switch now { // admit let it in before
	case draining:
		c.finish(causeDrain.ending())
	case stopping:
		c.end(causeShutdown.ending())
	}
}

// remove forgets a connection that is closed.
func (g *Gateway) remove(c *conn) {
	g.wheel.remove(c)
	c.endMembership()
	c.client.shares.release()
	g.log.Debug("socket closed", "socket", c.id, "status", c.ending.status, "reason", c.ending.cause)
	g.hooks.SocketClosed(c.ending.status, c.ending.cause.String(), time.Since(c.opened))
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sockets, c.id)
	if g.state == draining {
		g.hooks.Draining(len(g.sockets))
	}
	g.checkQuiet()
}

// await notes that a pin waits for its instance to confirm its end.
func (g *Gateway) await(p *pin) {
	deadline := g.wheel.time() + g.wheel.ticks(g.cfg.HandbackTimeout)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closing[p] = deadline
}

// settle notes that a pin is gone, and why.
func (g *Gateway) settle(p *pin, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closing, p)
	if g.state == draining && (reason == unpinLost || reason == unpinTimeout) {
		g.abandoned++
	}
	g.checkQuiet()
}

// expirePins gives up on pins whose instance did not confirm their end in time;
// with all, on every pin that waits.
func (g *Gateway) expirePins(all bool) {
	now := g.wheel.time()
	g.mu.Lock()
	var late []*pin
	for p, deadline := range g.closing {
		if all || deadline <= now {
			late = append(late, p)
		}
	}
	g.mu.Unlock()
	for _, p := range late {
		p.expire()
	}
}

// whenQuiet returns a channel that is closed when no connection, handshake or pin
// is left. It is only meant for a gateway that takes no more clients.
func (g *Gateway) whenQuiet() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quiet == nil {
		g.quiet = make(chan struct{})
	}
	g.checkQuiet()
	return g.quiet
}

// checkQuiet closes the channel of whenQuiet if its time has come. mu is held.
func (g *Gateway) checkQuiet() {
	if g.quiet == nil || g.state < draining || len(g.sockets) > 0 || g.accepting > 0 || len(g.closing) > 0 {
		return
	}
	select {
	case <-g.quiet:
	default:
		close(g.quiet)
	}
}

// connections returns all connections, in no particular order.
func (g *Gateway) connections() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.sockets))
}

// closeTimeout is how long a client may take to answer a close frame.
func (g *Gateway) closeTimeout() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state >= stopping {
		return min(g.cfg.CloseTimeout, stopGrace)
	}
	return g.cfg.CloseTimeout
}
