package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Node is one node as Redis lists it, for operators.
type Node struct {
	Incarnation wire.Incarnation
	Gateways    []string // names of its gateways, sorted; empty if it is none
	Roles       []Role   // in services, sorted by service
}

// Role is what a node is in one service.
type Role struct {
	Service string
	Kind    MemberKind
	State   State         // of an instance
	Version string        // of an instance
	Pins    int64         // that name the instance, or that the gateway made
	Lease   time.Duration // that is left; 0 = expired: the node is about to be removed
}

// Routes reads the route table: the announced services, sorted by name. It needs
// no Run.
func (r *Registry) Routes(ctx context.Context) ([]Service, error) {
	k := r.keys.routes()
	c := &call{script: scriptRouteView, keys: []string{k.version, k.routes}, args: []any{""}, n: 1}
	if err := r.exec(ctx, c); err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	table, err := parseRoutes(texts(at(c.reply, 1)))
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	services := make([]Service, 0, len(table))
	for _, s := range table {
		services = append(services, s)
	}
	slices.SortFunc(services, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return services, nil
}

// Nodes reads all nodes of all announced services, and all gateways, sorted by
// name. It needs no Run; its cost grows with the number of nodes, not of pins.
func (r *Registry) Nodes(ctx context.Context) ([]Node, error) {
	l := lister{r: r, nodes: map[wire.Incarnation]*Node{}}
	if err := l.read(ctx); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	nodes := make([]Node, 0, len(l.nodes))
	for _, n := range l.nodes {
		slices.SortFunc(n.Roles, func(a, b Role) int {
			return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(string(a.Kind), string(b.Kind)))
		})
		nodes = append(nodes, *n)
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(strings.Compare(string(a.Incarnation.Node), string(b.Incarnation.Node)), cmp.Compare(a.Incarnation.Epoch, b.Incarnation.Epoch))
	})
	return nodes, nil
}

// lister gathers nodes.
type lister struct {
	r     *Registry
	nodes map[wire.Incarnation]*Node
}

func (l *lister) node(i wire.Incarnation) *Node {
	n := l.nodes[i]
	if n == nil {
		n = &Node{Incarnation: i}
		l.nodes[i] = n
	}
	return n
}

func (l *lister) read(ctx context.Context) error {
	services, err := l.r.Routes(ctx)
	if err != nil {
		return err
	}
	announced, err := l.r.cfg.Client.HGetAll(ctx, l.r.keys.routes().announcements).Result()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for entry, text := range announced {
		name, ok := strings.CutPrefix(entry, gatewaysEntry+"/")
		who := incarnation(name)
		var e gatewayEntry
		if ok && !who.IsZero() && json.Unmarshal([]byte(text), &e) == nil {
			l.node(who).Gateways = e.Names
		}
	}
	for chunk := range slices.Chunk(services, maxPipeline) {
		if err := l.readServices(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) readServices(ctx context.Context, services []Service) error {
	calls := make([]*call, len(services))
	for n, s := range services {
		k := l.r.keys.service(s.Name)
		calls[n] = &call{
			script: scriptView,
			keys:   []string{k.version, k.instances, k.counts, k.leases, k.dead, k.clock},
			args:   []any{"", ms(l.r.cfg.LeaseTTL), maxSuspects}, n: 1,
		}
	}
	if err := l.r.exec(ctx, calls...); err != nil {
		return err
	}
	sizes := l.r.cfg.Client.Pipeline()
	var set []func()
	for n, s := range services {
		set = append(set, l.add(ctx, sizes, s.Name, calls[n].reply)...)
	}
	if len(set) == 0 {
		return nil
	}
	if _, err := sizes.Exec(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, f := range set {
		f()
	}
	return nil
}

// add notes the members of a service. What it returns adds the gateways, once
// sizes has run.
func (l *lister) add(ctx context.Context, sizes redis.Pipeliner, service string, reply []any) (gateways []func()) {
	k := l.r.keys.service(service)
	m, counts := parseMembers(reply), parseCounts(texts(at(reply, 2)))
	clock := number(text(at(reply, 6)))
	leases := texts(at(reply, 4))
	for n := 0; n+1 < len(leases); n += 2 {
		holder, err := parseMember(leases[n])
		if err != nil {
			continue
		}
		role := Role{Service: service, Kind: holder.kind, Lease: time.Duration(max(number(leases[n+1])-clock, 0)) * time.Millisecond}
		who := l.node(holder.incarnation)
		if holder.kind == KindInstance {
			i := m.instances[holder.incarnation]
			role.State, role.Version, role.Pins = i.State, i.Version, counts[holder.incarnation]
			who.Roles = append(who.Roles, role)
			continue
		}
		size := sizes.HLen(ctx, k.pinsOf(leases[n]))
		gateways = append(gateways, func() {
			role.Pins = size.Val()
			who.Roles = append(who.Roles, role)
		})
	}
	return gateways
}
