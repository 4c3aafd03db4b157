package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/schema"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Start makes this node an instance of the service: it returns when gateways may
// send. It fails with a *registry.ErrRouteConflict if another service has announced
// one of the routes. The context bounds the start only; [Service.Stop] undoes it.
// Programs that have nothing to do in between call [Service.Run].
func (s *Service) Start(ctx context.Context) error {
	if err := s.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.state != created {
		s.mu.Unlock()
		return fmt.Errorf("service %q: was started before; make a new one", s.name)
	}
	s.state = starting
	s.instance = string(s.bp.Self().Node)
	s.mu.Unlock()

	if h, ok := s.handler.(interface{ Observe(hooks router.Hooks) }); ok {
		h.Observe(s.cfg.Hooks.Router)
	}
	announcement, err := s.announcement()
	if err != nil {
		return err
	}
	// Streams are accepted before the announcement that lets them come.
	unserve, err := s.bp.Serve(s.name, s.accept)
	if err != nil {
		return err
	}
	if err := s.bp.Registry().Announce(ctx, announcement); err != nil {
		unserve()
		return err
	}
	s.mu.Lock()
	s.unserve, s.state = unserve, serving
	s.mu.Unlock()
	s.log.Info("service is serving", "node", s.bp.Self(), "public_routes", len(announcement.Routes), "on_instance_loss", s.cfg.OnInstanceLoss)
	return nil
}

// announcement is what the registry is told about this instance.
func (s *Service) announcement() (registry.Service, error) {
	a := registry.Service{
		Name:           s.name,
		Gateways:       s.cfg.Gateways,
		OnInstanceLoss: s.cfg.OnInstanceLoss,
		Version:        s.cfg.Version,
	}
	var errs []error
	for _, d := range s.handler.RouteDescriptors() {
		a.Routes = append(a.Routes, registry.Route{
			Pattern:   d.Pattern.String(),
			Canonical: d.Pattern.Canonical(),
			Limits:    registry.RouteLimits(d.Limits),
		})
		if d.Limits.Schema == "" {
			continue
		}
		if _, err := schema.Compile(d.Limits.Schema); err != nil {
			errs = append(errs, fmt.Errorf("service %q: route %q: %w", s.name, d.Pattern, err))
		}
	}
	return a, errors.Join(errs...)
}

// accept takes a stream that a gateway opened. It is called by the backplane and
// does not block.
func (s *Service) accept(stream *backplane.Stream, o wire.Open) backplane.StreamHandler {
	return s.newSocket(stream, o)
}

// newSocket starts the socket of a stream.
func (s *Service) newSocket(st stream, o wire.Open) *socket {
	k := &socket{service: s, stream: st, id: o.Socket, gateway: o.Gateway}
	k.sending.grant(int(o.Credit))
	grant := k.receiving.start(wire.DefaultWindow, s.cfg.SocketWindow)
	k.handler = s.handler.ServeSocket(s.socketInfo(o, st.Peer().Node), k)

	s.mu.Lock()
	s.sockets[k] = struct{}{}
	draining := s.draining
	s.mu.Unlock()

	if hook := s.cfg.Hooks.SocketOpened; hook != nil {
		hook(o.Gateway)
	}
	if grant > 0 {
		k.grant(grant)
	}
	if draining { // the pin was made a moment before
		k.depart()
	}
	return k
}

// socketInfo tells the handler who the client is.
func (s *Service) socketInfo(o wire.Open, gateway wire.NodeID) router.SocketInfo {
	headers := make(http.Header, len(o.Headers)+1)
	for _, h := range o.Headers {
		headers.Add(h.Name, h.Value)
	}
	// What the gateway could not parse is left out; a client may send anything.
	query, err := url.ParseQuery(o.Query)
	if err != nil {
		s.log.Debug("query of the handshake is not well-formed", "socket", o.Socket, "error", errors.Unwrap(err))
	}
	identity, err := wire.ParseIdentity(o.Identity)
	if err != nil { // which no gateway sends; nobody's word is taken for who the client is
		s.log.Error("a gateway sent an identity that cannot be read; the client counts as anonymous",
			"socket", o.Socket, "gateway", o.Gateway, "error", err)
	}
	identity.Claims = bytes.Clone(identity.Claims)
	return router.SocketInfo{
		ID:          string(o.Socket),
		RemoteAddr:  o.RemoteAddr,
		Headers:     headers,
		Query:       query,
		Subprotocol: o.Subprotocol,
		Gateway:     o.Gateway,
		GatewayNode: string(gateway),
		Instance:    s.instance,
		Identity:    identity,
		Public:      true,
	}
}

// remove forgets a socket whose UseClose handlers have run.
func (s *Service) remove(k *socket) {
	s.mu.Lock()
	delete(s.sockets, k)
	s.mu.Unlock()
	select {
	case s.departed <- struct{}{}:
	default: // whoever waits will look anyway
	}
}
