package redisbus

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// topologyPoll is the interval at which sentinels or a cluster are asked who the
	// masters are.
	topologyPoll = time.Second
	// topologyTimeout bounds one question to one of them.
	topologyTimeout = time.Second
)

// tether makes connections to the server that is the right one at the moment, and
// closes them when another one is: go-redis would stay where it is.
type tether struct {
	top    *Topology
	locate func(context.Context) (addr string, err error)

	mu    sync.Mutex
	conns map[*tethered]struct{} // guarded by mu
}

func newTether(top *Topology, locate func(context.Context) (string, error)) *tether {
	return &tether{top: top, locate: locate, conns: map[*tethered]struct{}{}}
}

// tethered is a connection of a tether.
type tethered struct {
	net.Conn
	t    *tether
	addr string
}

// Close implements [net.Conn].
func (c *tethered) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}

// dial is a dialer; the address that it is given has no meaning.
func (t *tether) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	addr, err := t.locate(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := t.top.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &tethered{Conn: nc, t: t, addr: addr}
	t.mu.Lock()
	t.conns[c] = struct{}{}
	t.mu.Unlock()
	return c, nil
}

// keep closes the connections that do not reach addr.
func (t *tether) keep(addr string) {
	t.mu.Lock()
	var wrong []*tethered
	for c := range t.conns {
		if c.addr != addr {
			wrong = append(wrong, c)
		}
	}
	t.mu.Unlock()
	for _, c := range wrong {
		_ = c.Close()
	}
}
