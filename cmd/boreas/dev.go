package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/boreas-ws/boreas/examples/chat/chat"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

type devCmd struct {
	Gateways  int    `default:"2" help:"How many gateways to run."`
	Instances int    `default:"2" help:"How many instances of the chat service to run."`
	Listen    string `default:"127.0.0.1:8080" help:"Where the page and the load balancer listen."`
	Redis     string `placeholder:"URL" help:"A Redis to use in place of an embedded one."`

	InternalListen string `placeholder:"HOST:PORT" help:"Where the push API listens, on loopback only. Default: 127.0.0.1:9090, or a free port if that is taken."`
}

// devStopTimeout is what each node has to stop, so that Ctrl-C ends everything
// within a second or two.
const devStopTimeout = 700 * time.Millisecond

// devStopLimit is when a stop that hangs is cut off.
const devStopLimit = 5 * time.Second

// devRoute is known to a gateway when it knows the chat service.
const devRoute = "/chat/join"

func (c *devCmd) validate() error {
	var errs []error
	if c.Gateways < 1 {
		errs = append(errs, fmt.Errorf("--gateways: %d; want 1 or more", c.Gateways))
	}
	if c.Instances < 1 {
		errs = append(errs, fmt.Errorf("--instances: %d; want 1 or more", c.Instances))
	}
	return errors.Join(errs...)
}

// Run serves until a signal. Every node has a backplane of its own, so that what
// they say to each other really crosses the bus.
func (c *devCmd) Run(p *process) error {
	if err := c.validate(); err != nil {
		return usageError{err}
	}
	defer p.endAfter(devStopLimit)()
	public, err := listen(p.ctx, "--listen", c.Listen)
	if err != nil {
		return err
	}
	defer public.Close()
	private, err := c.listenInternal(p.ctx)
	if err != nil {
		return err
	}
	defer private.Close()

	redis, shown := c.Redis, redactURL(c.Redis)
	if redis == "" {
		server, err := embedded.StartServer()
		if err != nil {
			return err
		}
		defer server.Close()
		redis, shown = server.URL(), "embedded"
	}

	api, err := startDevPush(p, redis, private)
	if p.ctx.Err() != nil && err != nil {
		return nil // stopped while Redis was away
	}
	if err != nil {
		return err
	}

	m := metrics.New() // of all nodes together
	// The instances outlive the gateways, whose sockets they let go of.
	running, stopInstances := context.WithCancel(context.WithoutCancel(p.ctx))
	defer stopInstances()
	instances, failed := errgroup.WithContext(running)
	for i := range c.Instances {
		instances.Go(func() error { return runInstance(failed, p, m, redis, nodeID("chat", i)) })
	}
	err = c.runGateways(failed, p, m, redis, shown, public, api.commands())
	stopInstances()
	err = errors.Join(err, instances.Wait(), api.close())
	if p.ctx.Err() != nil && err != nil { // stopped while it started, or in the middle of something
		p.logger.Info("not everything came to an end in time", "error", err)
		return nil
	}
	return err
}

func nodeID(kind string, i int) wire.NodeID { return wire.NodeID(fmt.Sprintf("%s-%d", kind, i+1)) }

// runInstance runs one instance of the chat service until ctx ends.
func runInstance(ctx context.Context, p *process, m *metrics.Metrics, redis string, id wire.NodeID) error {
	bp, err := backplane.Open(ctx, redis, backplane.Config{NodeID: id, Logger: p.logger, Hooks: m.Backplane()})
	if err != nil {
		return err
	}
	err = service.New("chat", bp, chat.Router(), service.Config{
		Logger: p.logger, DrainTimeout: devStopTimeout, Hooks: m.Service("chat"),
	}).Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, closeBackplane(bp))
}

// runGateways runs the gateways, and the balancer in front of them on public,
// until a signal comes or failed is done.
func (c *devCmd) runGateways(failed context.Context, p *process, m *metrics.Metrics, redis, shown string, public net.Listener, pushes []string) (err error) {
	ctx, stop := context.WithCancel(p.ctx)
	defer context.AfterFunc(failed, stop)()
	group, ctx := errgroup.WithContext(ctx)
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
	}()

	var running []*gateway.Gateway
	var gateways []*devGateway
	var addresses []string
	for i := range c.Gateways {
		l, err := listen(ctx, "gateway", "127.0.0.1:0")
		if err != nil {
			return err
		}
		id := nodeID("gateway", i)
		d := &devGateway{
			id: id, address: l.Addr().String(), kill: make(chan struct{}, 1), logger: p.logger,
			start: func(ctx context.Context) (*edge, error) { return newDevEdge(ctx, p, m, redis, id) },
		}
		e, err := d.start(ctx)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		group.Go(func() error { return d.run(ctx, l, e) })
		running = append(running, e.gateway)
		gateways = append(gateways, d)
		addresses = append(addresses, d.address)
	}
	if err := awaitRoutes(ctx, running); err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/ws", newBalancer(addresses, p.logger))
	mux.Handle("/", chat.DevPage(pushes))
	mux.Handle("/dev/", devKiller(gateways))
	mux.Handle("GET /metrics", m.Handler())
	front := newHTTPServer(mux, httpLimits{}, p.logger)
	group.Go(func() error {
		if err := front.Serve(public); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	c.greet(p, shown, public.Addr().String(), pushes)
	<-ctx.Done()
	return front.Close()
}

func newDevEdge(ctx context.Context, p *process, m *metrics.Metrics, redis string, id wire.NodeID) (*edge, error) {
	bp, err := backplane.Open(ctx, redis, backplane.Config{NodeID: id, Logger: p.logger, Hooks: m.Backplane()})
	if err != nil {
		return nil, err
	}
	gw, err := gateway.New("public", bp, gateway.Config{Logger: p.logger, DrainWindow: -1, Hooks: m.Gateway("public")})
	if err != nil {
		return nil, errors.Join(err, closeBackplane(bp))
	}
	return &edge{gateway: gw, backplane: bp, server: newHTTPServer(gw, httpLimits{}, p.logger), stopTimeout: devStopTimeout}, nil
}

// awaitRoutes waits until every gateway knows the chat service.
func awaitRoutes(ctx context.Context, gateways []*gateway.Gateway) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, gw := range gateways {
		for !gw.CanServePath(devRoute) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("the chat service has not announced %s: %w", devRoute, ctx.Err())
			}
		}
	}
	return nil
}

// greet says where to click.
func (c *devCmd) greet(p *process, redis, address string, pushes []string) {
	fmt.Fprintf(p.stdout, `Boreas is running: %d gateways behind a balancer, %d instances of the chat service, Redis %s.

  Open in two tabs:   http://%[4]s/
  Or with a client:   ws://%[4]s/ws
    client -> {"path":"/chat/join","id":"1","data":{"username":"alice","room":"general"}}
    server -> {"id":"1","data":{"status":"joined","room":"general"}}
  For Prometheus:     http://%[4]s/metrics
  Push to alice, from another terminal:
    %[5]s

Ctrl-C ends it.
`, c.Gateways, c.Instances, redis, address, strings.Join(pushes, "\n    "))
}
