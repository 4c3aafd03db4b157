package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// What callers ask for a socket.
const (
	askPin   = "pin"
	askUnpin = "unpin"
	askRead  = "read" // what Redis has
)

// request is one call.
type request struct {
	socket wire.SocketID
	what   string
}

// answer is what came of it. A Pin that failed has no instance.
type answer struct {
	instance string
	failed   bool
}

// linearModel is what a socket's pin looks like to callers: a variable that is set
// once, to any instance, until it is cleared. Losing Redis data, or the lease,
// changes nothing; a Pin that fails does not happen.
var linearModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		sockets := map[wire.SocketID][]porcupine.Operation{}
		for _, o := range history {
			socket := o.Input.(request).socket
			sockets[socket] = append(sockets[socket], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range sockets {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		pinned, got := state.(string), output.(answer)
		switch input.(request).what {
		case askUnpin:
			return true, ""
		case askRead:
			return got.instance == pinned, pinned
		}
		if got.failed {
			return true, pinned
		}
		return pinned == "" || pinned == got.instance, got.instance
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

func TestLinearModel(t *testing.T) {
	call := func(what, instance string, from, to int64) porcupine.Operation {
		return porcupine.Operation{
			Input: request{"s", what}, Output: answer{instance: instance, failed: what == askPin && instance == ""}, Call: from, Return: to,
		}
	}
	cases := map[string]struct {
		ok      bool
		history []porcupine.Operation
	}{
		"the same again":              {true, []porcupine.Operation{call(askPin, "a", 1, 2), call(askPin, "a", 3, 4), call(askRead, "a", 5, 6)}},
		"another":                     {false, []porcupine.Operation{call(askPin, "a", 1, 2), call(askPin, "b", 3, 4)}},
		"another, after an unpin":     {true, []porcupine.Operation{call(askPin, "a", 1, 2), call(askUnpin, "", 3, 4), call(askPin, "b", 5, 6)}},
		"another, during an unpin":    {true, []porcupine.Operation{call(askPin, "a", 1, 2), call(askUnpin, "", 3, 6), call(askPin, "b", 4, 5)}},
		"lost":                        {false, []porcupine.Operation{call(askPin, "a", 1, 2), call(askRead, "", 3, 4)}},
		"left behind":                 {false, []porcupine.Operation{call(askPin, "a", 1, 2), call(askUnpin, "", 3, 4), call(askRead, "a", 5, 6)}},
		"left behind by a failed pin": {false, []porcupine.Operation{call(askPin, "", 1, 2), call(askRead, "a", 3, 4)}},
	}
	for name, tc := range cases {
		if got := porcupine.CheckOperations(linearModel, tc.history); got != tc.ok {
			t.Errorf("%s: linearizable %v; want %v", name, got, tc.ok)
		}
	}
}

// TestLinearizable pins and unpins sockets from many goroutines, while Redis and the
// gateways' leases are lost, and looks for an order of the calls that explains every
// answer and what Redis has in the end.
func TestLinearizable(t *testing.T) {
	rounds := 1
	if os.Getenv("BOREAS_SOAK") != "" {
		rounds = 15
	}
	for name, args := range map[string][]string{
		"no persistence": nil,
		"AOF":            {"--appendonly", "yes", "--appendfsync", "everysec"},
	} {
		t.Run(name, func(t *testing.T) { linearize(t, rounds, args) })
	}
}

func linearize(t *testing.T, rounds int, args []string) {
	srv := redistest.Start(t, redistest.Config{Args: args})
	// The nodes have a pool of their own: after failed dials it remembers for up to a
	// second that Redis is away, and the test must see what is there.
	c, nodes := newCluster(t, srv.Client()), connect(t, srv.URL())
	var fenced atomic.Bool
	quick := func(cfg *Config) { cfg.Client, cfg.CallTimeout = nodes, testTTL/2 }
	instances := []*node{c.instance("a", chat, quick), c.instance("b", chat, quick)}
	g := c.gateway("g", quick, func(cfg *Config) { cfg.Alive = func() bool { return !fenced.Load() } })
	h := c.gateway("h", quick)
	g.sees(t, soon, instances...)

	r := &recording{start: time.Now()}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var group sync.WaitGroup
	for _, n := range []*node{g, h} {
		for worker := range 4 {
			group.Go(func() { r.work(ctx, n, rand.New(rand.NewPCG(uint64(worker), uint64(len(n.cfg.Self.Node))))) })
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	faults := []func(){
		func() { must(t, srv.Kill()); moment(random, 500); must(t, srv.Restart()) },    // faults 1 and 2
		func() { must(t, srv.Stop()); moment(random, 600); must(t, srv.Cont()) },       // fault 3
		func() { must(t, srv.Stop()); <-time.After(2 * testTTL); must(t, srv.Cont()) }, // fault 4
		func() { must(t, c.client.FlushAll(ctx).Err()) },                               // fault 10
		func() { fenced.Store(true); <-time.After(3 * testTTL); fenced.Store(false) },  // fault 21
	}
	for range rounds {
		for _, n := range random.Perm(len(faults)) {
			moment(random, 500)
			faults[n]()
		}
	}
	moment(random, 500)
	stop()
	group.Wait()

	eventually(t, soon, func() string { return c.same(g, h) })
	c.hold()
	r.read(t, c)
	living := map[string]bool{"": true}
	for _, n := range instances {
		living[n.self()] = true
	}
	failed := 0
	for _, o := range r.operations {
		got := o.Output.(answer)
		if !living[got.instance] {
			t.Errorf("%v: %v, which never was", o.Input, got.instance)
		}
		if got.failed {
			failed++
		}
	}
	t.Logf("%d calls, of which %d failed", len(r.operations), failed)
	result, _ := porcupine.CheckOperationsVerbose(linearModel, r.operations, time.Minute)
	if result != porcupine.Ok {
		t.Errorf("the history is %s", result)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// moment waits for up to that many milliseconds.
func moment(random *rand.Rand, most int) {
	<-time.After(time.Duration(random.IntN(most)) * time.Millisecond)
}

// linearSockets is how many sockets of a gateway the workers share.
const linearSockets = 8

// recording is a history.
type recording struct {
	start time.Time

	mu         sync.Mutex
	operations []porcupine.Operation // guarded by mu
}

func (r *recording) add(q request, call time.Duration, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, porcupine.Operation{
		Input: q, Output: a, Call: int64(call), Return: int64(time.Since(r.start)),
	})
}

// work pins and unpins until ctx ends.
func (r *recording) work(ctx context.Context, n *node, random *rand.Rand) {
	for ctx.Err() == nil {
		q := request{socketN(n, random.IntN(linearSockets)), askPin}
		call := time.Since(r.start)
		if random.IntN(3) == 0 {
			q.what = askUnpin
			n.Unpin(chat.Name, q.socket)
			r.add(q, call, answer{})
		} else {
			patience, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.IntN(1000))*time.Millisecond)
			at, err := n.Pin(patience, chat.Name, q.socket)
			cancel()
			a := answer{failed: err != nil}
			if err == nil {
				a.instance = at.String()
			}
			r.add(q, call, a)
			if errors.Is(err, ErrNotJoined) {
				panic(err) // the test asks gateways only
			}
		}
		moment(random, 40)
	}
}

// read adds what Redis has.
func (r *recording) read(t *testing.T, c *cluster) {
	t.Helper()
	call := time.Since(r.start)
	a, err := readAudit(context.Background(), c.client, newKeyspace(c.namespace).service(chat.Name), nil)
	must(t, err)
	pinned := map[wire.SocketID]string{}
	for _, pins := range a.pins {
		for socket, instance := range pins {
			pinned[wire.SocketID(socket)] = instance
		}
	}
	for _, gateway := range []string{"g", "h"} {
		for i := range linearSockets {
			socket := wire.SocketID(fmt.Sprintf("%s-%d", gateway, i))
			r.add(request{socket, askRead}, call, answer{instance: pinned[socket]})
		}
	}
}
