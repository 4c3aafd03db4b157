package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
)

const (
	// stopGrace is how long a stop without drain waits for clients to answer the
	// close frame, and then for instances to run their close handlers.
	stopGrace = 300 * time.Millisecond
	// leaveTimeout bounds the last call to the registry.
	leaveTimeout = time.Second
	// joinPause is the time between two tries to join the registry.
	joinPause = 500 * time.Millisecond
)

// Run joins the registry, lets clients in, and returns when ctx ends or a Drain is
// complete, after every connection and goroutine of the gateway has ended. If ctx
// ends without a Drain, all sockets are closed at once with 1001. It returns an
// error if it was called before or if the backplane ended under it.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !g.begin(cancel) {
		return errors.New("gateway: Run was called before; make a new gateway")
	}
	defer close(g.over)
	defer g.runQuota(ctx)()
	defer g.registry.OnChange(func(_, _ *registry.View) { g.refreshRoutes() })()
	g.refreshRoutes()
	defer g.hub.AddLocal(g)()

	g.join(ctx)
	ticker := time.NewTicker(g.wheel.step)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.wheel.advance((*conn).beat)
			g.expirePins(false)
		case <-ctx.Done():
			g.stop()
			return nil
		case <-g.bp.Done():
			g.stop()
			return fmt.Errorf("gateway: the backplane ended: %w", g.bp.Err())
		}
	}
}

// begin marks the gateway as being run; cancel ends Run.
func (g *Gateway) begin(cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != created {
		return false
	}
	g.state, g.cancel = joining, cancel
	return true
}

// refreshRoutes makes the route table anew from the registry's latest view.
func (g *Gateway) refreshRoutes() {
	g.refreshing.Lock()
	defer g.refreshing.Unlock()
	g.routes.Store(compileRoutes(g.registry.View(), g.name, g.routes.Load(), g.hooks.Requests, g.log))
}

// join makes this node a gateway in the registry, and then lets clients in.
func (g *Gateway) join(ctx context.Context) {
	for told := false; ; told = true {
		err := g.registry.JoinGateway(ctx, g.name)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		if !told {
			g.log.Warn("the registry cannot be joined yet; trying again", "err", err)
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == joining {
		g.state = running
		g.log.Info("gateway accepts clients", "node", g.bp.Self().Node)
	}
}

// stop ends everything.
func (g *Gateway) stop() {
	g.mu.Lock()
	g.state = stopping
	g.mu.Unlock()
	g.endAll(causeShutdown)
	g.leave()
	g.mu.Lock()
	g.state = stopped
	g.mu.Unlock()
}

// leave undoes join.
func (g *Gateway) leave() {
	select {
	case <-g.bp.Done():
		return // there is nobody to ask
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := g.registry.LeaveGateway(ctx, g.name); err != nil {
		g.log.Warn("the registry was not told that this gateway is gone; it will notice", "err", err)
	}
}

// endAll closes all connections and waits until they and their pins are gone.
func (g *Gateway) endAll(why cause) {
	for _, c := range g.connections() {
		c.end(why.ending())
	}
	quiet, grace := g.whenQuiet(), time.NewTicker(2*stopGrace)
	defer grace.Stop()
	for {
		select {
		case <-quiet:
			return
		case <-grace.C:
			g.expirePins(true)
		}
	}
}
