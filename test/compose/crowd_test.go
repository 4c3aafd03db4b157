package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// crowd are clients that talk all the time, and come back when they are told to.
type crowd struct {
	host string
	quit atomic.Bool        // asks for no more
	stop context.CancelFunc // at once
	wait sync.WaitGroup

	mu sync.Mutex
	tally
	problems []error // guarded by mu
}

// tally is what a crowd has seen so far; guarded by its mu.
type tally struct {
	answered []int          // messages, by client
	sockets  int            // that were served
	refused  int            // connections and first messages that were asked to try again
	closes   map[string]int // connections, by close code and reason
}

// startCrowd runs n clients until end.
func startCrowd(ctx context.Context, host string, n int) *crowd {
	ctx, stop := context.WithCancel(ctx)
	c := &crowd{host: host, stop: stop, tally: tally{answered: make([]int, n), closes: map[string]int{}}}
	for i := range n {
		c.wait.Go(func() {
			for ctx.Err() == nil && !c.quit.Load() {
				if err := c.visit(ctx, i); err != nil && ctx.Err() == nil {
					c.mu.Lock()
					c.problems = append(c.problems, fmt.Errorf("client %d: %w", i, err))
					c.mu.Unlock()
					return
				}
			}
		})
	}
	return c
}

// window is how many messages of a client are under way.
const window = 4

// visit is one connection. A counter on the instance numbers the messages that were
// handled: each of them is answered, once and in order, before the connection ends.
func (c *crowd) visit(ctx context.Context, i int) error {
	client, where, err := c.arrive(ctx)
	if err != nil {
		return err
	}
	defer client.ws.Close()
	defer context.AfterFunc(ctx, func() { _ = client.ws.Close() })()
	first := client.n + 1
	for handled := 0; ; handled++ {
		for !c.quit.Load() && client.n+1-first < handled+window {
			if client.send("/counter/add", struct{}{}) != nil {
				break // the reads tell why
			}
		}
		if client.n+1-first == handled {
			return nil // quit, and all were answered
		}
		var got struct{ Value int }
		if err := client.read(first+handled, &got); err != nil {
			return c.ended(err)
		}
		if got.Value != handled+1 {
			return fmt.Errorf("gateway %s, socket %s: message %d was counted as %d", where.Gateway, where.Socket, handled+1, got.Value)
		}
		c.mu.Lock()
		c.answered[i]++
		c.mu.Unlock()
	}
}

// arrive connects a client, which tries again when it is asked to.
func (c *crowd) arrive(ctx context.Context) (*client, place, error) {
	deadline := time.Now().Add(patience)
	for {
		client, err := dial(ctx, c.host)
		if err == nil {
			var where place
			if where, err = client.place(); err == nil {
				c.mu.Lock()
				c.sockets++
				c.mu.Unlock()
				return client, where, nil
			}
			_ = client.ws.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, place{}, err
		}
		c.mu.Lock()
		c.refused++
		c.mu.Unlock()
		select {
		case <-time.After(200 * time.Millisecond): // as a client would
		case <-ctx.Done():
		}
	}
}

// ended takes 1012 for an invitation to come back, and no other end.
func (c *crowd) ended(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes[fmt.Sprintf("%d %s", closed.Code, closed.Text)]++
	if closed.Code != websocket.CloseServiceRestart {
		return err
	}
	return nil
}

// seen returns what the crowd has seen, and what went wrong for it.
func (c *crowd) seen() (tally, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tally
	t.answered, t.closes = slices.Clone(t.answered), maps.Clone(t.closes)
	return t, errors.Join(c.problems...)
}

// end lets the clients wait for their answers and leave, and returns what they have
// seen.
func (c *crowd) end() (tally, error) {
	c.quit.Store(true)
	c.wait.Wait()
	c.stop()
	return c.seen()
}

// goesOn waits until every client of the crowd was answered some times more.
func (s *stack) goesOn(c *crowd) tally {
	s.t.Helper()
	before, err := c.seen()
	if err != nil {
		s.blame(err)
	}
	var now tally
	s.eventually(func() error {
		if now, err = c.seen(); err != nil {
			s.blame(err)
		}
		for i := range now.answered {
			if now.answered[i] < before.answered[i]+50 {
				return fmt.Errorf("client %d was answered %d times since; want 50", i, now.answered[i]-before.answered[i])
			}
		}
		return nil
	})
	return now
}

// messages is how many messages were answered, the first of each socket included.
func (t tally) messages() int {
	sum := t.sockets
	for _, n := range t.answered {
		sum += n
	}
	return sum
}

func (t tally) String() string {
	return fmt.Sprintf("%d clients, %d messages on %d sockets, %d refused, closes %v", len(t.answered), t.messages(), t.sockets, t.refused, t.closes)
}
