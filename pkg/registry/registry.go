package registry

import (
	"context"
	"errors"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// ErrNoInstance says that a service has no serving instance now.
var ErrNoInstance = errors.New("no serving instance")

// ErrUnavailable says that Redis did not answer in time, or that the registry
// does not run.
var ErrUnavailable = errors.New("registry unavailable")

// Registry is one node's part in the registry. All methods may be called from any
// goroutine.
type Registry struct {
	cfg Config
}

// New makes a registry. It starts nothing and does not talk to Redis.
func New(cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Registry{cfg: cfg}, nil
}

// Run renews leases, pins, reaps and keeps the view until ctx ends, and returns
// when all its goroutines have ended. It says no goodbye: see [Registry.Withdraw]
// and [Registry.LeaveGateway]. It may be called once.
func (r *Registry) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Synced is closed when the view has been read from Redis for the first time.
func (r *Registry) Synced() <-chan struct{} { return nil }

// Announce makes this node a serving instance of s.Name, or changes what it
// announced. See [ErrRouteConflict].
func (r *Registry) Announce(context.Context, Service) error { return ErrUnavailable }

// SetState changes the state of this node's instance of service.
func (r *Registry) SetState(context.Context, string, State) error { return ErrUnavailable }

// Withdraw ends this node's membership as an instance of service at once.
func (r *Registry) Withdraw(context.Context, string) error { return ErrUnavailable }

// JoinGateway makes this node a gateway of that name, so that it may pin. Several
// gateways may share a node.
func (r *Registry) JoinGateway(context.Context, string) error { return ErrUnavailable }

// LeaveGateway undoes one JoinGateway of that name. With the last one, all pins
// of this node go at once.
func (r *Registry) LeaveGateway(context.Context, string) error { return ErrUnavailable }

// Pin pins socket to the serving instance of service with the fewest pins, or
// returns the pin that it has.
func (r *Registry) Pin(context.Context, string, wire.SocketID) (wire.Incarnation, error) {
	return wire.Incarnation{}, ErrUnavailable
}

// Unpin removes the pin of socket in service, soon, and after a Pin of the same
// socket that was called before.
func (r *Registry) Unpin(string, wire.SocketID) {}

// View returns the latest snapshot; never nil.
func (r *Registry) View() *View { return &View{} }

// OnChange calls f, from one goroutine, after each change of routes or members.
func (r *Registry) OnChange(func(old, new *View)) (stop func()) { return func() {} }
