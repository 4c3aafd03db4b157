package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// view knows which master of a cluster owns which slot.
type view struct {
	top     *Topology
	changed func()        // called by run when owners changed; may be nil
	wake    chan struct{} // holds a token when run shall ask at once
	known   chan struct{} // closed with the first answer

	mu      sync.Mutex
	closed  bool                     // guarded by mu
	ranges  []slotRange              // guarded by mu
	nodes   []string                 // guarded by mu: whom to ask, in this order
	clients map[string]*redis.Client // guarded by mu
}

// slotRange says who owns the slots first to last.
type slotRange struct {
	first, last int
	owner       string
}

func newView(t *Topology) *view {
	return &view{top: t, wake: make(chan struct{}, 1), known: make(chan struct{}), nodes: slices.Clone(t.addrs), clients: map[string]*redis.Client{}}
}

// refresh lets run ask the cluster at once. It never blocks.
func (v *view) refresh() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// owner returns the address of the master of a slot; "" while none is known.
func (v *view) owner(slot int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.ranges {
		if r.first <= slot && slot <= r.last {
			return r.owner
		}
	}
	return ""
}

// owners returns the addresses of all masters that own slots.
func (v *view) owners() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	owners := map[string]bool{}
	for _, r := range v.ranges {
		owners[r.owner] = true
	}
	return owners
}

// run keeps the view until ctx ends.
func (v *view) run(ctx context.Context) {
	defer v.close()
	tick := time.NewTicker(topologyPoll)
	defer tick.Stop()
	for {
		if list, err := v.ask(ctx); err == nil && v.learn(list) && v.changed != nil {
			v.changed()
		}
		// After a question there is a little rest, however many connections fail.
		if !backoff(ctx, 2) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-v.wake:
		}
	}
}

// learn keeps an answer and reports whether owners changed.
func (v *view) learn(list []redis.ClusterSlot) bool {
	var ranges []slotRange
	var nodes []string
	for _, s := range list {
		for i, n := range s.Nodes {
			if i == 0 {
				ranges = append(ranges, slotRange{s.Start, s.End, n.Addr})
			}
			if !slices.Contains(nodes, n.Addr) {
				nodes = append(nodes, n.Addr)
			}
		}
	}
	slices.SortFunc(ranges, func(a, b slotRange) int { return a.first - b.first })
	v.mu.Lock()
	defer v.mu.Unlock()
	// Who answered last is asked first, then the members, then who the URL names.
	order := v.nodes[:min(1, len(v.nodes))]
	for _, n := range slices.Concat(nodes, v.top.addrs) {
		if !slices.Contains(order, n) {
			order = append(slices.Clip(order), n)
		}
	}
	v.nodes = order
	if slices.Equal(ranges, v.ranges) {
		return false
	}
	if v.ranges == nil {
		close(v.known)
	}
	v.ranges = ranges
	return true
}

// ask asks one node after the other until one answers.
func (v *view) ask(ctx context.Context) ([]redis.ClusterSlot, error) {
	v.mu.Lock()
	nodes := v.nodes
	v.mu.Unlock()
	var errs []error
	for _, addr := range nodes {
		list, err := v.askNode(ctx, addr)
		if err == nil {
			v.prefer(addr)
			return list, nil
		}
		v.drop(addr)
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("no node of the cluster answers: %w", errors.Join(errs...))
}

// askNode asks one node.
func (v *view) askNode(ctx context.Context, addr string) ([]redis.ClusterSlot, error) {
	c := v.clientOf(addr)
	if c == nil {
		return nil, context.Canceled
	}
	ctx, cancel := context.WithTimeout(ctx, topologyTimeout/2)
	defer cancel()
	list, err := c.ClusterSlots(ctx).Result() //nolint:staticcheck // what go-redis itself takes
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it has no slots")
	}
	for i := range list {
		for j := range list[i].Nodes {
			n := &list[i].Nodes[j]
			if h, port, err := net.SplitHostPort(n.Addr); err == nil && (h == "" || h == "?") {
				n.Addr = net.JoinHostPort(host, port) // it does not know its own name
			}
		}
	}
	return list, nil
}

// prefer makes addr the one to ask first.
func (v *view) prefer(addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.nodes[0] != addr {
		v.nodes = append([]string{addr}, slices.DeleteFunc(slices.Clone(v.nodes), func(n string) bool { return n == addr })...)
	}
}

func (v *view) clientOf(addr string) *redis.Client {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	c := v.clients[addr]
	if c == nil {
		o := v.top.options(v.top.dial)
		o.Network, o.Addr, o.PoolSize = "tcp", addr, 2
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = topologyTimeout, topologyTimeout, topologyTimeout
		c = redis.NewClient(o)
		v.clients[addr] = c
	}
	return c
}

// drop closes the connection to a node that did not answer.
func (v *view) drop(addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.clients[addr]; c != nil {
		_ = c.Close()
		delete(v.clients, addr)
	}
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for _, c := range v.clients {
		_ = c.Close()
	}
	clear(v.clients)
}

// whole puts back the host of an address on this machine: go-redis takes it away
// from slots that it did not ask for itself.
func (v *view) whole(addr string) string {
	if !strings.HasPrefix(addr, ":") {
		return addr
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range v.nodes {
		if strings.HasSuffix(n, addr) {
			return n
		}
	}
	return addr
}

// client makes a client for commands, which gets its slots from here.
func (v *view) client(ctx context.Context) *redis.ClusterClient {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return v.top.dial(ctx, network, v.whole(addr))
	}
	o := v.top.options(bound(ctx, dial))
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                    slices.Clone(v.top.addrs), // it is appended to
		ClusterSlots:             v.ask,
		Username:                 o.Username,
		Password:                 o.Password,
		DialTimeout:              o.DialTimeout,
		Dialer:                   o.Dialer,
		DialerRetries:            o.DialerRetries,
		MaxRetries:               o.MaxRetries,
		MinRetryBackoff:          minBackoff,
		MaxRetryBackoff:          maxBackoff,
		Protocol:                 o.Protocol,
		PipelinePoolSize:         o.PipelinePoolSize,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		DisableRoutingPolicies:   true,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	})
}
