package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/test/cluster"
	"github.com/boreas-ws/boreas/test/probe"
)

// backend is the Redis under a system.
type backend interface {
	// url is where a node connects.
	url(node string) (string, error)
	// client sees the whole of it.
	client() redis.UniversalClient
	// servers are all of it, replicas and dead ones included.
	servers() []*redistest.Server
	// primaries are the servers that take writes; owner is the one for a key.
	primaries(ctx context.Context) ([]*redistest.Server, error)
	owner(ctx context.Context, key string) (*redistest.Server, error)
	io.Closer
}

// system is a Redis with gateways and instances.
type system struct {
	programs cluster.Programs
	backend  backend
	flags    []string // of instances

	mu        sync.Mutex
	gateways  []*cluster.Gateway            // nil while down
	instances []*cluster.Probe              // nil while down
	read      map[*cluster.Process]int      // lines of an instance that were read
	closed    map[string]int                // the status with which an instance saw a socket end
	unreached map[probe.Numbered]struct{}   // pushes of which their pusher knows that somebody may have missed them
	wrong     []wrong                       // violations that instances reported, until they are asked for
	started   map[*cluster.Process]struct{} // that may not have ended yet
	starts    int
}

// wrong is a violation that an instance reported: what is wrong with the numbers of a
// socket's messages.
type wrong struct {
	what   string
	damage probe.Damage
}

// startSystem starts the nodes around a backend, which it owns from then on.
func startSystem(ctx context.Context, p cluster.Programs, b backend, gateways, instances int) (*system, error) {
	s := &system{
		programs: p, backend: b,
		gateways: make([]*cluster.Gateway, gateways), instances: make([]*cluster.Probe, instances),
		started: map[*cluster.Process]struct{}{},
		read:    map[*cluster.Process]int{}, closed: map[string]int{}, unreached: map[probe.Numbered]struct{}{},
		flags: []string{"--push", pushPace.String()},
	}
	for i := range instances {
		if err := s.startInstance(ctx, i); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	for i := range gateways {
		if err := s.startGateway(ctx, i); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close kills all processes.
func (s *system) Close() error {
	var errs []error
	for _, p := range s.processes() {
		errs = append(errs, p.Kill())
	}
	return errors.Join(append(errs, s.backend.Close())...)
}

// name makes a node's name. A node that starts again is a new one, as in a deploy.
func (s *system) name(kind string, i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	return fmt.Sprintf("%s%d-%d", kind, i, s.starts)
}

func (s *system) startGateway(ctx context.Context, i int) error {
	name := s.name("gw", i)
	url, err := s.backend.url(name)
	if err != nil {
		return err
	}
	g, err := s.programs.StartGateway(ctx, name, url, "--drain-window", "2s")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateways[i] = g
	s.started[g.Process] = struct{}{}
	return nil
}

func (s *system) startInstance(ctx context.Context, i int) error {
	name := s.name("probe", i)
	url, err := s.backend.url(name)
	if err != nil {
		return err
	}
	p, err := s.programs.StartProbe(ctx, name, url, s.flags...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances[i] = p
	s.started[p.Process] = struct{}{}
	return nil
}

// takeGateway removes a gateway from the list, so that clients do not try it.
func (s *system) takeGateway(i int) *cluster.Gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gateways[i]
	s.gateways[i] = nil
	return g
}

func (s *system) takeInstance(i int) *cluster.Probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.instances[i]
	s.instances[i] = nil
	return p
}

// processes are the nodes that run.
func (s *system) processes() []*cluster.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*cluster.Process
	for _, g := range s.gateways {
		if g != nil {
			list = append(list, g.Process)
		}
	}
	for _, p := range s.instances {
		if p != nil {
			list = append(list, p.Process)
		}
	}
	return list
}

// instanceNames are the sorted nodes of the instances that run.
func (s *system) instanceNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, p := range s.instances {
		if p != nil {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// serving are the gateways to which clients can connect.
func (s *system) serving() []*cluster.Gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.gateways), func(g *cluster.Gateway) bool { return g == nil })
}

// boundSockets is how many sockets the gateways remember to be bound to instances.
func (s *system) boundSockets(ctx context.Context) (bound int, err error) {
	s.mu.Lock()
	gateways := slices.Clone(s.gateways)
	s.mu.Unlock()
	for _, g := range gateways {
		if g == nil {
			continue
		}
		n, err := g.Metric(ctx, "boreas_gateway_pins")
		if err != nil {
			return 0, fmt.Errorf("%s: %w", g.Name, err)
		}
		bound += int(n)
	}
	return bound, nil
}

// listen reads what the instances have reported. mu is held.
func (s *system) listen() {
	for _, p := range s.instances {
		if p != nil {
			s.listenTo(p)
		}
	}
}

// listenTo reads what an instance has reported. mu is held.
func (s *system) listenTo(p *cluster.Probe) {
	lines := p.Events()
	for _, e := range cluster.ParseEvents(lines[s.read[p.Process]:]) {
		switch e.Event {
		case "violation":
			s.wrong = append(s.wrong, wrong{e.Instance + ": " + e.Reason, e.Damage})
		case "close":
			s.closed[e.Socket] = e.Status
		case "unreached":
			s.unreached[probe.Numbered{From: e.From, Number: e.Number}] = struct{}{}
		}
	}
	s.read[p.Process] = len(lines)
}

// killInstance kills one and hears what it reported until then.
func (s *system) killInstance(p *cluster.Probe) error {
	err := p.Kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listenTo(p)
	return err
}

// violations returns what instances reported since the last call.
func (s *system) violations() []wrong {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen()
	list := s.wrong
	s.wrong = nil
	return list
}

// closedWith returns the status with which an instance saw a socket end; 0 if it has
// not ended.
func (s *system) closedWith(socket string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen()
	return s.closed[socket]
}
