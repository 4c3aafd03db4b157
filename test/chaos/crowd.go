package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/test/cluster"
)

const (
	// reconnectDelay is how long a client waits before it connects again.
	reconnectDelay = 100 * time.Millisecond
	// One of so many clients is a visitor: it leaves and comes back all the time, so
	// that sockets are pinned and unpinned during every fault. The others stay.
	visitors = 4
	// shortVisit and longVisit bound how long a visitor stays.
	shortVisit, longVisit = 500 * time.Millisecond, 2 * time.Second
)

// crowd keeps a number of clients connected. A client whose session ends connects
// again, to any gateway.
type crowd struct {
	size    int
	serving func() []*cluster.Gateway // that clients may try
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	live   map[int]*session // by client
	moved  []time.Time      // by client: when a message came last in a session that has ended
	ended  []*session       // since the last harvest
	paused bool
}

func startCrowd(ctx context.Context, size int, serving func() []*cluster.Gateway) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{size: size, serving: serving, cancel: cancel, live: map[int]*session{}, moved: make([]time.Time, size)}
	for i := range size {
		c.wg.Go(func() { c.client(ctx, i) })
	}
	return c
}

func isVisitor(client int) bool { return client%visitors == 0 }

func (c *crowd) stop() {
	c.cancel()
	c.wg.Wait()
}

func (c *crowd) client(ctx context.Context, i int) {
	for ctx.Err() == nil {
		serving := c.serving()
		s, err := openSession(ctx, serving[rand.N(len(serving))])
		if err != nil {
			if !pause(ctx, reconnectDelay) {
				return
			}
			continue
		}
		c.mu.Lock()
		s.paused = c.paused
		c.live[i] = s
		c.mu.Unlock()
		if isVisitor(i) {
			c.wg.Go(func() { s.visit(ctx, shortVisit+rand.N(longVisit-shortVisit)) })
		}
		s.run(ctx)
		c.mu.Lock()
		delete(c.live, i)
		c.moved[i] = s.progressed()
		if ctx.Err() == nil {
			c.ended = append(c.ended, s)
		}
		c.mu.Unlock()
		pause(ctx, reconnectDelay)
	}
}

// sessions returns those that are open.
func (c *crowd) sessions() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*session, 0, len(c.live))
	for _, s := range c.live {
		list = append(list, s)
	}
	return list
}

// pause stops or resumes all traffic.
func (c *crowd) pause(on bool) {
	c.mu.Lock()
	c.paused = on
	c.mu.Unlock()
	for _, s := range c.sessions() {
		s.pause(on)
	}
}

// harvest returns the sessions that ended since the last call.
func (c *crowd) harvest() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := c.ended
	c.ended = nil
	return ended
}

// moving reports whether a message came to every client since t.
func (c *crowd) moving(t time.Time) bool { return c.all(t, func(int) bool { return true }) }

// residentsMoving is moving, of the clients that are no visitors.
func (c *crowd) residentsMoving(t time.Time) bool {
	return c.all(t, func(client int) bool { return !isVisitor(client) })
}

func (c *crowd) all(t time.Time, which func(client int) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.size {
		s := c.live[i]
		if which(i) && !c.moved[i].After(t) && (s == nil || !s.progressed().After(t)) {
			return false
		}
	}
	return true
}
