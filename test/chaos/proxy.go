package chaos

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Proxy is a TCP proxy in front of a Redis, whose network can be made bad.
type Proxy struct {
	listener net.Listener
	network  string // of the target
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when weather changes
	weather Weather
	conns   map[net.Conn]struct{}
	closed  bool

	// made counts the connections; of those up to strandedUp and strandedDown nothing
	// passes any more.
	made, strandedUp, strandedDown int
}

// Weather is how a proxy treats what passes through it.
type Weather struct {
	// Delay holds each piece of data up, in both directions.
	Delay time.Duration
	// Jitter is the most that is added to Delay, at random.
	Jitter time.Duration
	// Trickle passes one byte at a time.
	Trickle bool
	// HoldUp keeps what the node sends; HoldDown what Redis sends. Nothing is
	// lost: it passes when the weather gets better.
	HoldUp, HoldDown bool
}

// NewProxy starts a proxy to target on a free port of the loopback.
func NewProxy(network, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		listener: l, network: network, target: target,
		changed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the weather, also for connections that exist.
func (p *Proxy) Set(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	p.change()
}

// change tells those who wait. mu is held.
func (p *Proxy) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Strand lets nothing pass any more of what the node sends (up) or Redis sends (down) on
// the connections that exist, and neither end learns of it. Both together make the
// connections half open. New ones work.
func (p *Proxy) Strand(up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up {
		p.strandedUp = p.made
	}
	if down {
		p.strandedDown = p.made
	}
	p.change()
}

// Break breaks the connections; what is held is lost.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = map[net.Conn]struct{}{}
	p.change()
	p.mu.Unlock()
	_ = p.listener.Close()
	for c := range conns {
		_ = c.Close()
	}
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		node, err := p.listener.Accept()
		if err != nil {
			return
		}
		redis, err := net.Dial(p.network, p.target)
		if err != nil {
			_ = node.Close()
			continue
		}
		number, ok := p.add(node, redis)
		if !ok {
			return
		}
		p.wg.Go(func() { p.carry(redis, node, number, true) })
		p.wg.Go(func() { p.carry(node, redis, number, false) })
	}
}

// add keeps the ends of a connection for Close, and numbers it. It reports false after
// Close.
func (p *Proxy) add(ends ...net.Conn) (number int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range ends {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	p.made++
	return p.made, !p.closed
}

// carry copies from src to dst, as the weather allows, until either ends.
func (p *Proxy) carry(dst, src net.Conn, number int, up bool) {
	defer func() {
		_ = dst.Close()
		_ = src.Close()
		p.mu.Lock()
		delete(p.conns, src)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			piece, ok := p.pass(len(b), number, up)
			if !ok {
				return
			}
			if _, err := dst.Write(b[:piece]); err != nil {
				return
			}
			b = b[piece:]
		}
		if err != nil {
			return
		}
	}
}

// pass waits until up to n bytes may pass, and returns how many.
func (p *Proxy) pass(n, number int, up bool) (piece int, ok bool) {
	for {
		p.mu.Lock()
		w, changed, closed := p.weather, p.changed, p.closed
		stranded := up && number <= p.strandedUp || !up && number <= p.strandedDown
		p.mu.Unlock()
		if closed {
			return 0, false
		}
		if stranded || up && w.HoldUp || !up && w.HoldDown {
			<-changed
			continue
		}
		if d := w.Delay; d > 0 {
			if w.Jitter > 0 {
				d += rand.N(w.Jitter)
			}
			timer := time.NewTimer(d)
			select {
			case <-timer.C:
			case <-changed:
				timer.Stop()
				continue
			}
		}
		if w.Trickle {
			return 1, true
		}
		return n, true
	}
}

// pause waits for d, or until ctx ends; it reports whether d passed.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
