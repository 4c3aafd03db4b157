package router_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/router"
)

// step is one message of a random history, and what its handler does.
type step struct {
	After  time.Duration // since the message before it
	Before time.Duration // work until the handler asks, if it does
	Asks   bool
	Answer time.Duration // how long the client takes to answer; negative: it never does
	Rest   time.Duration // work after that
}

const (
	turnTimeout   = router.DefaultTurnTimeout
	answerTimeout = 5 * time.Second
)

func steps() *rapid.Generator[[]step] {
	durations := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, 300 * time.Millisecond, 999 * time.Millisecond, turnTimeout, 2500 * time.Millisecond})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			After:  durations.Draw(t, "after"),
			Before: durations.Draw(t, "before"),
			Asks:   rapid.Bool().Draw(t, "asks"),
			Answer: rapid.SampledFrom([]time.Duration{-1, 0, time.Millisecond, 3 * time.Second}).Draw(t, "answer"),
			Rest:   durations.Draw(t, "rest"),
		}
	}), 1, 30)
}

// TestOrder compares when handlers start and end in random histories with what the
// rules of the package's documentation say, to the nanosecond.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		history := steps().Draw(rt, "history")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = play(t, history) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func play(t *testing.T, history []step) string {
	start := time.Now()
	n := len(history)
	var mu sync.Mutex
	var order []int
	started, ended := make([]time.Duration, n), make([]time.Duration, n)
	r := newRouter(t, router.Config{MaxHandlers: -1})
	r.Bind("/step/:i", func(ctx *router.Context) {
		i, _ := strconv.Atoi(ctx.Params().Get("i"))
		mu.Lock()
		order = append(order, i)
		started[i] = time.Since(start)
		mu.Unlock()
		time.Sleep(history[i].Before)
		if history[i].Asks {
			_, _ = ctx.RequestWithTimeout("ask", answerTimeout)
		}
		time.Sleep(history[i].Rest)
		mu.Lock()
		ended[i] = time.Since(start)
		mu.Unlock()
	})

	transport := &answering{conn: &conn{}, history: history}
	transport.mu.Lock()
	transport.socket = r.ServeSocket(router.SocketInfo{}, transport)
	transport.handler = transport.socket
	transport.mu.Unlock()
	arrived := make([]time.Duration, n)
	for i, s := range history {
		time.Sleep(s.After)
		arrived[i] = time.Since(start)
		transport.socket.Deliver(router.MessageText, []byte(msg("/step/"+strconv.Itoa(i), strconv.Itoa(i), 1)))
	}
	time.Sleep(time.Duration(n+1) * (answerTimeout + 6*time.Second))
	synctest.Wait()
	defer func() {
		transport.socket.End(1000, "", router.ClientCloseSource, false)
		<-transport.socket.Done()
	}()

	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(order) || len(order) != n {
		return fmt.Sprintf("handlers started in the order %v", order)
	}
	free := time.Duration(0) // when the turn is free
	for i, s := range history {
		wantStart := max(arrived[i], free)
		work, wait := s.Before, time.Duration(0)
		if s.Asks {
			wait = answerTimeout
			if s.Answer >= 0 {
				wait = s.Answer
			}
		} else {
			work += s.Rest
		}
		free = wantStart + min(work, turnTimeout)
		wantEnd := wantStart + s.Before + wait + s.Rest
		if started[i] != wantStart || ended[i] != wantEnd {
			return fmt.Sprintf("message %d ran from %v to %v, want %v to %v", i, started[i], ended[i], wantStart, wantEnd)
		}
	}
	if p := transport.socket.Pending(); p != 0 {
		return fmt.Sprintf("%d messages pending at the end", p)
	}
	return ""
}

// answering is a transport whose client answers as the history says.
type answering struct {
	*conn
	history []step
	socket  router.SocketHandler
}

func (a *answering) Send(_ context.Context, m router.Outgoing) error {
	if m.ID == "" || !strings.Contains(string(m.Data), "ask") {
		return nil
	}
	i, _ := strconv.Atoi(m.ID)
	if d := a.history[i].Answer; d >= 0 {
		time.AfterFunc(d, func() {
			path := ""
			if i%2 == 0 {
				path = "/step/" + m.ID
			}
			a.socket.Deliver(router.MessageText, []byte(msg(path, m.ID, "yes")))
		})
	}
	return nil
}

// TestRequestPassesTheTurnOn: also when the answer is there before anybody waits.
func TestRequestPassesTheTurnOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.Bind("/asks", func(ctx *router.Context) {
			_, _ = ctx.Request("?")
			time.Sleep(time.Millisecond)
			tr.addf("asked")
		})
		r.Bind("/next", func(*router.Context) { tr.addf("next") })
		transport := &prompt{conn: &conn{}}
		transport.mu.Lock()
		transport.socket = r.ServeSocket(router.SocketInfo{}, transport)
		transport.mu.Unlock()
		transport.socket.Deliver(router.MessageText, []byte(msg("/asks", "1", nil)))
		transport.socket.Deliver(router.MessageText, []byte(msg("/next", "", nil)))
		time.Sleep(time.Second)
		transport.socket.End(1000, "", router.ClientCloseSource, true)
		<-transport.socket.Done()
		tr.is(t, "next", "asked")
	})
}

// prompt is a transport whose client answers before Send returns.
type prompt struct {
	*conn
	socket router.SocketHandler
}

func (p *prompt) Send(_ context.Context, m router.Outgoing) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket.Deliver(router.MessageText, []byte(msg("", m.ID, "yes")))
	return nil
}

// TestLeftoversAreWatched: what a conversation leaves behind need not wait for a slow
// handler longer than others do.
func TestLeftoversAreWatched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		r := newRouter(t, router.Config{})
		r.Bind("/c", func(ctx *router.Context) {
			data, _ := ctx.Receive()
			tr.addf("%s", data)
			if string(data) == `"a"` {
				_, _ = ctx.Receive()
				time.Sleep(time.Millisecond)
			}
		})
		r.Bind("/slow", func(ctx *router.Context) { <-ctx.Done() })
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/c", "1", "a"), msg("/slow", "", nil), msg("/c", "1", "b"), msg("/c", "1", "c"))
		time.Sleep(2 * turnTimeout)
		synctest.Wait()
		tr.is(t, `"a"`, `"c"`)
		c.hangUp()
	})
}

// TestSlowClientKeepsOrder: while the client does not take its messages, a handler
// that waits in Send keeps its turn, so answers stay in order.
func TestSlowClientKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		running := 0
		timedOut := 0
		r := newRouter(t, router.Config{Hooks: router.Hooks{TurnTimedOut: func() { timedOut++ }}})
		r.Bind("/a", func(ctx *router.Context) {
			running++
			_ = ctx.Send(router.Raw(ctx.Data()))
			running--
		})
		c := connect(t, r, router.SocketInfo{})
		gate := make(chan struct{})
		c.conn.gate = gate
		var want []string
		for i := range 10 {
			c.Deliver(router.MessageText, []byte(msg("/a", "", i)))
			want = append(want, fmt.Sprintf(`{"data":%d}`, i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if running != 1 || timedOut != 0 {
			t.Errorf("%d handlers are at work and %d lost their turn, want 1 and 0", running, timedOut)
		}
		close(gate)
		synctest.Wait()
		c.hears(want...)
		c.hangUp()
	})
}

// TestBusySenderLosesTurn: a handler that sends without end, though never for long,
// does not keep its turn.
func TestBusySenderLosesTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{})
		r.Bind("/stream", func(ctx *router.Context) {
			var err error
			for err == nil {
				err = ctx.Send("x")
			}
		})
		r.Bind("/a", echo)
		c := connect(t, r, router.SocketInfo{})
		gate := make(chan struct{})
		c.conn.gate = gate
		var sends sync.WaitGroup
		sends.Go(func() { // each takes a while
			for range 1500 {
				time.Sleep(time.Millisecond)
				gate <- struct{}{}
			}
			close(gate)
		})
		c.Deliver(router.MessageText, []byte(msg("/stream", "", nil)))
		c.Deliver(router.MessageText, []byte(msg("/a", "", "second")))
		time.Sleep(turnTimeout + turnTimeout/4)
		sent := c.heard()
		if !slices.Contains(sent, `{"data":"second"}`) {
			t.Errorf("the second message was not handled among %d", len(sent))
		}
		sends.Wait()
		c.hangUp()
	})
}

func TestMaxHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most, limited := 0, 0, 0
		r := newRouter(t, router.Config{MaxHandlers: 3, Hooks: router.Hooks{HandlerLimit: func() { limited++ }}})
		r.Bind("/a", func(ctx *router.Context) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			_, _ = ctx.Request("?")
			mu.Lock()
			running--
			mu.Unlock()
		})
		c := connect(t, r, router.SocketInfo{})
		for i := range 10 {
			c.Deliver(router.MessageText, []byte(msg("/a", strconv.Itoa(i), 1)))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if running != 3 || limited == 0 {
			t.Errorf("%d handlers at work, limit reached %d times", running, limited)
		}
		for i := range 10 { // answers pass although the limit is reached
			c.say(msg("", strconv.Itoa(i), "yes"))
		}
		if running != 0 || most != 3 {
			t.Errorf("%d handlers at work at the end, %d at most", running, most)
		}
		c.hangUp()
	})
}

// TestHandlerLimitDrains: a drain ends although the limit is reached by handlers
// that wait for the end.
func TestHandlerLimitDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRouter(t, router.Config{MaxHandlers: 2})
		r.Bind("/a", func(ctx *router.Context) { <-ctx.Done() })
		c := connect(t, r, router.SocketInfo{})
		for range 5 {
			c.Deliver(router.MessageText, []byte(msg("/a", "", nil)))
		}
		time.Sleep(time.Hour)
		c.End(router.StatusServiceRestart, "", router.ServerCloseSource, true)
		<-c.Done()
	})
}

// TestManySockets runs sockets side by side without fake time, for the race detector.
func TestManySockets(t *testing.T) {
	r := newRouter(t, router.Config{})
	r.Bind("/echo", echo)
	r.Bind("/ask", func(ctx *router.Context) {
		var answer string
		if ctx.RequestInto("?", &answer) == nil {
			_ = ctx.Send(answer)
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			const messages = 300
			c := &conn{}
			c.handler = r.ServeSocket(router.SocketInfo{}, c)
			for i := range messages {
				c.handler.Deliver(router.MessageText, []byte(msg("/echo", strconv.Itoa(i), i)))
				if i%10 == 0 {
					c.handler.Deliver(router.MessageText, []byte(msg("/ask", "ask"+strconv.Itoa(i), nil)))
					c.handler.Deliver(router.MessageText, []byte(msg("/ask", "ask"+strconv.Itoa(i), "yes")))
				}
			}
			c.handler.End(1000, "", router.ClientCloseSource, true)
			<-c.handler.Done()
			next := 0
			for _, m := range c.sent {
				if string(m.Data) == `{"id":"`+strconv.Itoa(next)+`","data":`+strconv.Itoa(next)+`}` {
					next++
				}
			}
			if next != messages {
				t.Errorf("only the first %d echoes came, in order", next)
			}
		})
	}
	all.Wait()
}
