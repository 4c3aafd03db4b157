package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// tape is a stream that records what is sent.
type tape struct {
	mu      sync.Mutex
	kinds   []wire.Kind
	closes  []wire.Close
	credits []uint32
	done    int
	fail    error // of the next SendData
}

func (p *tape) add(k wire.Kind) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds = append(p.kinds, k)
	return nil
}

func (p *tape) Peer() wire.Incarnation         { return wire.Incarnation{Node: "gateway-node", Epoch: 1} }
func (p *tape) SendRelease() error             { return p.add(wire.KindRelease) }
func (p *tape) SendCommand(wire.Command) error { return p.add(wire.KindCommand) }
func (p *tape) SendClosed() error              { return p.add(wire.KindClosed) }
func (p *tape) SendData(context.Context, wire.MessageType, string, []byte) error {
	if err := p.fail; err != nil {
		p.fail = nil
		return err
	}
	return p.add(wire.KindData)
}

func (p *tape) SendCredit(n uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credits = append(p.credits, n)
	return nil
}

func (p *tape) SendClose(c wire.Close) error {
	p.mu.Lock()
	p.closes = append(p.closes, c)
	p.mu.Unlock()
	return p.add(wire.KindClose)
}

func (p *tape) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
}

func (p *tape) count(k wire.Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, sent := range p.kinds {
		if sent == k {
			n++
		}
	}
	return n
}

// actor is a handler whose close handlers run when the test says so.
type actor struct {
	mu        sync.Mutex
	first     *wire.Close // the End that counts
	cancelled bool
	messages  [][]byte
	done      chan struct{}
}

func (a *actor) RouteDescriptors() []*router.RouteDescriptor { return nil }

func (a *actor) ServeSocket(router.SocketInfo, router.Conn) router.SocketHandler { return a }

func (a *actor) Deliver(_ wire.MessageType, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.messages = append(a.messages, data)
}

func (a *actor) End(status router.Status, reason string, source router.CloseSource, finish bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first == nil {
		a.first = &wire.Close{Status: status, Reason: reason, Source: source, Finish: finish}
	}
	a.cancelled = a.cancelled || !finish
}

func (a *actor) Done() <-chan struct{} { return a.done }
func (a *actor) Pending() int          { return 0 }

func (a *actor) SetIdentity(router.Identity) {}

func (a *actor) ended() *wire.Close {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// stage is a socket between a tape and an actor, without a backplane.
type stage struct {
	*socket
	tape  *tape
	actor *actor

	mu         sync.Mutex
	closed     []string // what the SocketClosed hook was told
	violations []Violation
}

func newStage(policy registry.Policy) *stage { return newStageWith(Config{OnInstanceLoss: policy}) }

func newStageWith(cfg Config) *stage {
	g := &stage{tape: &tape{}, actor: &actor{done: make(chan struct{})}}
	s := &Service{
		name:     "stage",
		handler:  g.actor,
		departed: make(chan struct{}, 1),
		sockets:  map[*socket]struct{}{},
	}
	cfg.Hooks = Hooks{
		SocketClosed: func(gateway string, status wire.CloseCode, source wire.CloseSource) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.closed = append(g.closed, fmt.Sprint(gateway, " ", status, " ", source))
		},
		Violation: func(v Violation) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.violations = append(g.violations, v)
		},
	}
	s.cfg = cfg.withDefaults()
	s.log = s.cfg.Logger
	g.socket = s.newSocket(g.tape, wire.Open{Service: "stage", Socket: "s1", Gateway: "public", Credit: 1000})
	return g
}

// ways are all that can end a socket, at any time and at the same time.
var ways = map[string]func(g *stage){
	"client closes": func(g *stage) {
		g.Frame(wire.KindClose, wire.Close{Status: 1001, Reason: "bye", Source: wire.SourceClient}.Append(nil))
	},
	"gateway drains": func(g *stage) {
		g.Frame(wire.KindClose, wire.Close{Status: 1012, Reason: "drain", Source: wire.SourceServer, Finish: true}.Append(nil))
	},
	"handed off": func(g *stage) {
		g.Frame(wire.KindClose, wire.Close{Source: wire.SourceHandoff, Finish: true}.Append(nil))
	},
	"handler closes":  func(g *stage) { g.Close(4001, "enough") },
	"gateway is lost": func(g *stage) { g.Reset(link.Reset{Cause: link.CauseForgotten}) },
	"service stops":   func(g *stage) { g.depart() },
	"stop times out":  func(g *stage) { g.depart(); g.cut(restartReason) },
	"bad frame":       func(g *stage) { g.Frame(wire.KindData, nil) },
}

// TestEndsOnce lets random sets of ends race, and checks what the handler, the
// gateway and the hooks were told.
func TestEndsOnce(t *testing.T) {
	names := make([]string, 0, len(ways))
	for name := range ways {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(rt *rapid.T) {
		chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(rt, "ways")
		early := rapid.Bool().Draw(rt, "close handlers are quick")
		policy := rapid.SampledFrom([]registry.Policy{registry.PolicyClose, registry.PolicyRepin}).Draw(rt, "policy")
		var failure error
		synctest.Test(t, func(t *testing.T) {
			g := newStage(policy)
			if early {
				close(g.actor.done)
			}
			var racers sync.WaitGroup
			for _, name := range chosen {
				racers.Go(func() { ways[name](g) })
			}
			racers.Wait()
			synctest.Wait()
			if !early {
				failure = g.checkEnding(t.Context())
				close(g.actor.done)
				synctest.Wait()
			}
			failure = errors.Join(failure, g.checkEnded(chosen))
		})
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}

// checkEnding looks at a socket whose close handlers have not run yet.
func (g *stage) checkEnding(ctx context.Context) error {
	if n := g.tape.count(wire.KindClosed); n != 0 {
		return fmt.Errorf("%d Closed were sent before the close handlers ran", n)
	}
	if g.actor.cancelled && g.Send(ctx, router.Outgoing{}) == nil {
		return errors.New("sent on a socket that is gone")
	}
	return nil
}

// checkEnded looks at a socket that has come to rest.
func (g *stage) checkEnded(chosen []string) error {
	closes, releases := g.tape.count(wire.KindClose), g.tape.count(wire.KindRelease)
	if closes > 1 || releases > 1 {
		return fmt.Errorf("the gateway was asked more than once to end the stream: %v", g.tape.kinds)
	}
	only := func(names ...string) bool {
		return !slices.ContainsFunc(chosen, func(n string) bool { return !slices.Contains(names, n) })
	}
	if only("handler closes", "service stops") {
		// The gateway has not answered yet: nothing has ended.
		if closes+releases == 0 || g.actor.ended() != nil || len(g.closed) != 0 {
			return fmt.Errorf("sent %v, ended: %v", g.tape.kinds, g.actor.ended())
		}
		return nil
	}
	end := g.actor.ended()
	if end == nil {
		return errors.New("the handler was not told of the end")
	}
	if want := fmt.Sprint("public ", end.Status, " ", end.Source); !slices.Equal(g.closed, []string{want}) {
		return fmt.Errorf("the hook was told %q, want once %q", g.closed, want)
	}
	lost := slices.Contains(chosen, "gateway is lost")
	if n := g.tape.count(wire.KindClosed); n > 1 || n == 0 && !lost {
		return fmt.Errorf("%d Closed were sent", n)
	}
	if only("gateway is lost") && g.tape.count(wire.KindClosed) != 0 {
		return errors.New("Closed was sent to nobody")
	}
	if g.tape.done != 1 {
		return fmt.Errorf("the stream was forgotten %d times", g.tape.done)
	}
	if g.service.SocketCount() != 0 {
		return errors.New("the service still has the socket")
	}
	hard := slices.ContainsFunc(chosen, func(n string) bool {
		return n == "gateway is lost" || n == "stop times out" || n == "client closes"
	})
	if hard && !g.actor.cancelled {
		return errors.New("handlers were left to finish what nobody waits for")
	}
	if err := g.Send(context.Background(), router.Outgoing{}); !errors.Is(err, router.ErrSocketClosed) {
		return fmt.Errorf("Send after the end gave another error: %w", err)
	}
	return nil
}

func TestEndTellsWhy(t *testing.T) {
	for name, want := range map[string]wire.Close{
		"client closes":   {Status: 1001, Reason: "bye", Source: wire.SourceClient},
		"gateway drains":  {Status: 1012, Reason: "drain", Source: wire.SourceServer, Finish: true},
		"handed off":      {Status: 1012, Reason: "handed to another instance", Source: wire.SourceServer, Finish: true},
		"gateway is lost": {Status: 1012, Reason: "gateway lost", Source: wire.SourceServer},
		"stop times out":  {Status: 1012, Reason: "service restart", Source: wire.SourceServer},
		"bad frame":       {Status: 1011, Reason: "bad_frame", Source: wire.SourceServer},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(registry.PolicyClose)
			ways[name](g)
			if got := g.actor.ended(); got == nil || *got != want {
				t.Errorf("the handler was told %+v, want %+v", got, want)
			}
			close(g.actor.done)
		})
	}
}

func TestDepartFollowsThePolicy(t *testing.T) {
	g := newStage(registry.PolicyRepin)
	g.depart()
	if !slices.Equal(g.tape.kinds, []wire.Kind{wire.KindRelease}) {
		t.Errorf("repin sent %v, want a Release", g.tape.kinds)
	}
	g = newStage(registry.PolicyClose)
	g.depart()
	want := wire.Close{Status: 1012, Reason: "service restart", Source: wire.SourceServer, Finish: true}
	if !slices.Equal(g.tape.closes, []wire.Close{want}) {
		t.Errorf("close sent %+v, want %+v", g.tape.closes, want)
	}
}

// TestHandlerClosesWhileHandedBack: the socket must not live on elsewhere.
func TestHandlerClosesWhileHandedBack(t *testing.T) {
	g := newStage(registry.PolicyRepin)
	g.depart()
	g.Close(4000, "enough")
	if want := []wire.Kind{wire.KindRelease, wire.KindClose}; !slices.Equal(g.tape.kinds, want) {
		t.Errorf("sent %v, want %v", g.tape.kinds, want)
	}
}

func TestViolations(t *testing.T) {
	full := wire.Data{Type: wire.Text, Payload: make([]byte, wire.DefaultWindow)}.Append(nil)
	for name, tt := range map[string]struct {
		frames []func(g *stage)
		want   Violation
	}{
		"overrun": {[]func(*stage){
			func(g *stage) { g.Frame(wire.KindData, full) },
			func(g *stage) { g.Frame(wire.KindData, full) },
		}, ViolationCredit},
		"broken data":   {[]func(*stage){func(g *stage) { g.Frame(wire.KindData, []byte{9}) }}, ViolationFrame},
		"broken credit": {[]func(*stage){func(g *stage) { g.Frame(wire.KindCredit, nil) }}, ViolationFrame},
		"broken close":  {[]func(*stage){func(g *stage) { g.Frame(wire.KindClose, nil) }}, ViolationFrame},
		"wrong way":     {[]func(*stage){func(g *stage) { g.Frame(wire.KindClosed, nil) }}, ViolationFrame},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(registry.PolicyClose)
			for _, f := range tt.frames {
				f(g)
			}
			ways["bad frame"](g) // what follows is not reported
			if !slices.Equal(g.violations, []Violation{tt.want}) {
				t.Errorf("reported %v, want once %v", g.violations, tt.want)
			}
			want := wire.Close{Status: wire.CloseInternal, Reason: string(tt.want), Source: wire.SourceServer}
			if !slices.Equal(g.tape.closes, []wire.Close{want}) {
				t.Errorf("the gateway was told %+v, want %+v", g.tape.closes, want)
			}
			close(g.actor.done)
		})
	}
}

// TestBacklogDoesNotHoldBatches checks that a message waiting behind others does not
// keep the batch alive that it came in.
func TestBacklogDoesNotHoldBatches(t *testing.T) {
	g := newStage(registry.PolicyClose)
	batch := wire.Data{Type: wire.Text, Payload: []byte("payload")}.Append(nil)
	aliases := 0
	for range 2 * copyAbove / wire.DataOverhead {
		g.Frame(wire.KindData, batch)
	}
	for _, m := range g.actor.messages {
		if &m[len(m)-1] == &batch[len(batch)-1] {
			aliases++
		}
	}
	if aliases == 0 || aliases > copyAbove/wire.DataOverhead {
		t.Errorf("%d of %d queued messages share memory with their batch", aliases, len(g.actor.messages))
	}
}

// TestGrantsAreCoalesced handles a window's worth of messages.
func TestGrantsAreCoalesced(t *testing.T) {
	g := newStage(registry.PolicyClose)
	const n = wire.DefaultWindow / (wire.DataOverhead + 128)
	frame := wire.Data{Type: wire.Text, Payload: make([]byte, 128)}.Append(nil)
	for range n {
		g.Frame(wire.KindData, frame)
		g.Consumed(128)
	}
	if want := []uint32{wire.DefaultWindow / 2, wire.DefaultWindow / 2}; !slices.Equal(g.tape.credits, want) {
		t.Errorf("granted %v, want %v", g.tape.credits, want)
	}
}

func TestWindowIsMadeWhole(t *testing.T) {
	g := newStageWith(Config{SocketWindow: 3 * wire.DefaultWindow})
	if want := []uint32{2 * wire.DefaultWindow}; !slices.Equal(g.tape.credits, want) {
		t.Errorf("a large window granted %v at the start, want %v", g.tape.credits, want)
	}
	g = newStageWith(Config{SocketWindow: minWindow})
	if len(g.tape.credits) != 0 {
		t.Errorf("a small window granted %v at the start", g.tape.credits)
	}
}

func TestNothingIsSentAfterClose(t *testing.T) {
	g := newStage(registry.PolicyClose)
	g.Close(4000, "enough")
	g.Close(4001, "again")
	if want := []wire.Close{{Status: 4000, Reason: "enough", Source: wire.SourceServer}}; !slices.Equal(g.tape.closes, want) {
		t.Errorf("the gateway was told %+v, want %+v", g.tape.closes, want)
	}
	if err := g.Send(t.Context(), router.Outgoing{}); !errors.Is(err, router.ErrSocketClosed) {
		t.Errorf("Send after Close: %v", err)
	}
}

// TestFailedSendCostsNothing gives up a message while the link has no room for it.
func TestFailedSendCostsNothing(t *testing.T) {
	g := newStage(registry.PolicyClose)
	large := router.Outgoing{Data: make([]byte, 5000)} // more than all credit
	g.tape.fail = context.Canceled
	if err := g.Send(t.Context(), large); !errors.Is(err, context.Canceled) {
		t.Fatalf("Send gave %v", err)
	}
	if err := g.Send(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Send(ctx, large); !errors.Is(err, context.Canceled) {
		t.Errorf("Send without credit gave %v", err)
	}
	g.Frame(wire.KindCredit, wire.Credit{Bytes: 10000}.Append(nil))
	g.tape.fail = link.ErrReset
	if err := g.Send(t.Context(), large); !errors.Is(err, router.ErrSocketClosed) {
		t.Errorf("Send on a link that was reset gave %v", err)
	}
}
