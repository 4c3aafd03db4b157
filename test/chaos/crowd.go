package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// reconnectDelay is how long a client waits before it connects again.
const reconnectDelay = 100 * time.Millisecond

// crowd keeps a number of clients connected. A client whose session ends connects
// again, to any gateway.
type crowd struct {
	urls   func() []string // of the gateways that clients may try
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	live   map[int]*session // by client
	ended  []*session       // since the last harvest
	paused bool
}

func startCrowd(ctx context.Context, size int, urls func() []string) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{urls: urls, cancel: cancel, live: map[int]*session{}}
	for i := range size {
		c.wg.Go(func() { c.client(ctx, i) })
	}
	return c
}

func (c *crowd) stop() {
	c.cancel()
	c.wg.Wait()
}

func (c *crowd) client(ctx context.Context, i int) {
	for ctx.Err() == nil {
		urls := c.urls()
		s, err := openSession(ctx, urls[rand.N(len(urls))])
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
		s.run(ctx)
		c.mu.Lock()
		delete(c.live, i)
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

// moving reports whether size clients have a session that has made progress since t.
func (c *crowd) moving(size int, t time.Time) bool {
	n := 0
	for _, s := range c.sessions() {
		if s.progressed().After(t) {
			n++
		}
	}
	return n >= size
}
