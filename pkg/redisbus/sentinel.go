package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// stragglers is how long, after the first sentinel answered, the others may take.
const stragglers = 100 * time.Millisecond

// master finds the master that the sentinels name, and follows it.
type master struct {
	*tether

	mu      sync.Mutex
	closed  bool                     // guarded by mu
	clients map[string]*redis.Client // guarded by mu: of sentinels
}

func newMaster(t *Topology) *master {
	m := &master{clients: map[string]*redis.Client{}}
	m.tether = newTether(t, m.locate)
	return m
}

func (m *master) remote() remote {
	return remote{Topology: m.top, dial: m.dial, check: isMaster}
}

// isMaster refuses a server that sentinels named but that is no master: its
// sentinels are behind, or ahead.
func isMaster(ctx context.Context, c *redis.Conn) error {
	role := redis.NewSliceCmd(ctx, "role")
	if err := c.Process(ctx, role); err != nil {
		return err
	}
	if v := role.Val(); len(v) == 0 || v[0] != "master" {
		return errors.New("the server that the sentinels name is not a master")
	}
	return nil
}

// run keeps connections on the master until ctx ends.
func (m *master) run(ctx context.Context) {
	defer m.close()
	tick := time.NewTicker(topologyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if addr, err := m.locate(ctx); err == nil {
			m.keep(addr)
		}
	}
}

// answer is what a sentinel says: the address of the master, and the epoch of the
// failover that made it so.
type answer struct {
	addr  string
	epoch int64
	err   error
}

// locate asks all sentinels and believes the one that knows the latest failover.
func (m *master) locate(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, topologyTimeout)
	defer cancel()
	answers := make(chan answer, len(m.top.addrs))
	for _, addr := range m.top.addrs {
		go func() { answers <- m.ask(ctx, addr) }()
	}
	best := answer{epoch: -1}
	var errs []error
	late := ctx.Done()
	for range m.top.addrs {
		select {
		case a := <-answers:
			if a.err != nil {
				errs = append(errs, a.err)
				continue
			}
			if a.epoch > best.epoch {
				best = a
			}
			rest, cancel := context.WithTimeout(ctx, stragglers)
			defer cancel()
			late = rest.Done()
		case <-late:
		}
	}
	if best.addr == "" {
		return "", fmt.Errorf("no sentinel knows the master %q: %w", m.top.master, errors.Join(errs...))
	}
	return best.addr, nil
}

// ask asks one sentinel.
func (m *master) ask(ctx context.Context, sentinel string) answer {
	c := m.client(sentinel)
	if c == nil {
		return answer{err: context.Canceled}
	}
	state := redis.NewMapStringStringCmd(ctx, "sentinel", "master", m.top.master)
	addr := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", m.top.master)
	pipe := c.Pipeline()
	_ = pipe.Process(ctx, state)
	_ = pipe.Process(ctx, addr)
	if _, err := pipe.Exec(ctx); err != nil {
		return answer{err: fmt.Errorf("sentinel %s: %w", sentinel, err)}
	}
	epoch, err := strconv.ParseInt(state.Val()["config-epoch"], 10, 64)
	if err != nil || len(addr.Val()) != 2 {
		return answer{err: fmt.Errorf("sentinel %s: not understood", sentinel)}
	}
	return answer{addr: net.JoinHostPort(addr.Val()[0], addr.Val()[1]), epoch: epoch}
}

// client returns the client of a sentinel; nil after close.
func (m *master) client(sentinel string) *redis.Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	c := m.clients[sentinel]
	if c == nil {
		o := m.top.options(m.top.dial)
		o.Network, o.Addr, o.DB, o.PoolSize = "tcp", sentinel, 0, 2
		o.Username, o.Password = m.top.sentinelUser, m.top.sentinelPassword
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = topologyTimeout, topologyTimeout, topologyTimeout
		c = redis.NewClient(o)
		m.clients[sentinel] = c
	}
	return c
}

func (m *master) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, c := range m.clients {
		_ = c.Close()
	}
	clear(m.clients)
}
