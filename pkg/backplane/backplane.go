package backplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Backplane is this process's place among the nodes: registry, bus and links.
type Backplane struct {
	self     wire.Incarnation
	log      *slog.Logger
	top      *redisbus.Topology
	client   io.Closer // of the registry
	bus      *redisbus.Bus
	mesh     *link.Mesh
	registry *registry.Registry
	demux    *demux

	lastStream atomic.Uint64

	attaching sync.Mutex
	attached  map[any]any // guarded by attaching

	opened func(*Backplane) // Hooks.Opened
	closed func()           // Hooks.Closed
	stop   context.CancelFunc
	done   chan struct{} // closed when everything has ended
	err    error         // why it ended by itself; set before done is closed
}

// Open connects to the Redis at url (see [redisbus.ParseURL]) and starts a node
// there. It returns when the node can be reached by others and knows them, and keeps
// trying until then or until ctx ends; ctx has no effect later. A url or password
// that Redis will never accept is reported at once. Settings of Redis that endanger
// the guarantees are warned about in the log (see [redisbus.Topology.Check]).
func Open(ctx context.Context, url string, cfg Config) (*Backplane, error) {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	b, err := newBackplane(run, url, cfg)
	if err != nil {
		stop()
		return nil, err
	}
	b.stop = stop
	if err := b.top.Reach(ctx, b.log); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("backplane: %w", err), b.client.Close())
	}
	b.top.Check(ctx, b.log)
	go b.run(run)
	if err := b.started(ctx); err != nil {
		stop()
		<-b.done
		return nil, err
	}
	b.opened(b)
	return b, nil
}

// newBackplane puts the layers together and starts nothing. The backplane will run
// until ctx ends.
func newBackplane(ctx context.Context, url string, cfg Config) (*Backplane, error) {
	cfg = cfg.withDefaults()
	top, err := redisbus.ParseURL(url)
	if err = errors.Join(err, cfg.validate()); err != nil {
		return nil, err
	}
	b := &Backplane{
		self:   wire.Incarnation{Node: cfg.NodeID, Epoch: wire.NewEpoch(time.Now())},
		log:    cfg.Logger.With("node", cfg.NodeID),
		top:    top,
		demux:  newDemux(cfg.Hooks.Dropped),
		opened: cfg.Hooks.Opened,
		closed: cfg.Hooks.Closed,
		done:   make(chan struct{}),
	}

	bus := cfg.Bus
	bus.Topology, bus.Node, bus.Namespace, bus.Logger, bus.Hooks = top, cfg.NodeID, cfg.Namespace, b.log, cfg.Hooks.Bus
	if b.bus, err = redisbus.New(bus); err != nil {
		return nil, err
	}

	mesh := cfg.Link
	mesh.Self, mesh.Bus, mesh.Handler, mesh.Logger, mesh.Hooks = b.self, b.bus, b.demux, b.log, cfg.Hooks.Link
	mesh.Key, mesh.OldKey = cfg.Key, cfg.OldKey
	if b.mesh, err = link.NewMesh(mesh); err != nil {
		return nil, err
	}
	b.demux.link = b.mesh.To

	client := top.NewClient(ctx)
	b.client = client
	reg := cfg.Registry
	reg.Client, reg.Namespace, reg.Self, reg.LeaseTTL = client, cfg.Namespace, b.self, cfg.LeaseTTL
	reg.Alive, reg.Logger, reg.Hooks = b.bus.Healthy, b.log, cfg.Hooks.Registry
	if b.registry, err = registry.New(reg); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return b, nil
}

// started waits until the layers are up.
func (b *Backplane) started(ctx context.Context) error {
	for _, step := range []struct {
		up   <-chan struct{}
		what string
	}{
		{b.mesh.Subscribed(), "the node's channel could not be subscribed"},
		{b.bus.Proven(), "what the node publishes does not come back; may the user PUBLISH?"},
		{b.registry.Synced(), "the registry could not be read"},
	} {
		select {
		case <-step.up:
		case <-b.done:
			return b.err
		case <-ctx.Done():
			return fmt.Errorf("backplane: %s: %s: %w", b.top, step.what, context.Cause(ctx))
		}
	}
	return nil
}

// run runs the layers until ctx ends or one of them fails.
func (b *Backplane) run(ctx context.Context) {
	defer close(b.done)
	defer b.closed()
	defer b.registry.OnChange(b.forgetLost)()
	layers := []func(context.Context) error{b.bus.Run, b.mesh.Run, b.registry.Run}
	ended := make(chan error, len(layers))
	for _, layer := range layers {
		go func() { ended <- layer(ctx) }()
	}
	var errs []error
	for range layers {
		err := <-ended
		if err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		} else if ctx.Err() == nil {
			errs = append(errs, errors.New("backplane: a layer ended by itself"))
		}
		b.stop()
	}
	b.err = errors.Join(append(errs, b.client.Close())...)
}

// Close waits, until ctx ends at the latest, for the peers to have what was sent,
// and ends the node. Gateways and services on it should be stopped before: what they
// leave in the registry stays until their leases end. It returns ctx's error if
// something was still on its way, and may be called again.
func (b *Backplane) Close(ctx context.Context) error {
	var err error
	select {
	case <-b.done:
	default:
		if err = b.mesh.Flush(ctx); err != nil {
			err = fmt.Errorf("backplane: not all frames were acknowledged: %w", err)
		}
	}
	b.stop()
	<-b.done
	return errors.Join(err, b.err)
}

// Done is closed when the backplane has ended: after Close, or with [Backplane.Err]
// after a failure that nothing can repair.
func (b *Backplane) Done() <-chan struct{} { return b.done }

// Err says why the backplane ended by itself; nil before, and after a Close.
func (b *Backplane) Err() error {
	select {
	case <-b.done:
		return b.err
	default:
		return nil
	}
}

// Self is this node's incarnation.
func (b *Backplane) Self() wire.Incarnation { return b.self }

// Registry is this node's registry.
func (b *Backplane) Registry() *registry.Registry { return b.registry }

// Mesh is this node's links, for their numbers.
func (b *Backplane) Mesh() *link.Mesh { return b.mesh }

// String is the URL of Redis without its password.
func (b *Backplane) String() string { return b.top.String() }
