package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// What nodes do with leases, and what is done to them.
const (
	doClaim  = "claim"  // an instance announces itself, a gateway starts a generation
	doBeat   = "beat"   // renew
	doReap   = "reap"   // another node suspects it
	doLeave  = "leave"  // the owner ends it
	doExpire = "expire" // time passes: the deadline is over
	doWipe   = "wipe"   // Redis loses its data
	doLook   = "look"   // at all leases of the node, in the end
)

// claimRequest is about the lease of one start of a node.
type claimRequest struct {
	kind  MemberKind
	node  string
	what  string
	epoch int
}

// The answers to a claimRequest.
const (
	answerOK         = "ok"
	answerSuperseded = "superseded" // to a claim
	answerLost       = "lost"       // to a beat
	answerUnknown    = "unknown"    // it was done or not, before the operation's Return
)

// claimEpochs is how many starts of a node compete.
const claimEpochs = 3

// leaseState is what the model knows of a lease.
type leaseState byte

const (
	leaseNone      leaseState = iota
	leaseCondemned            // anyone may remove it, and it cannot be renewed
	leaseExpired              // anyone may remove it, unless it is renewed before
	leaseGood
)

// claimState is the state of the leases of a node, by epoch.
type claimState [claimEpochs]leaseState

// claimModel is what leases look like to the nodes: a node has at most one start that
// is not condemned, the latest that claimed; a lease that was lost is not renewed.
var claimModel = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		nodes := map[string][]porcupine.Operation{}
		for _, o := range history {
			q := o.Input.(claimRequest)
			node := string(q.kind) + q.node
			nodes[node] = append(nodes[node], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range nodes {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{claimState{}} },
	Step: func(state, input, output any) []any {
		before := state.(claimState)
		after, answer := before.after(input.(claimRequest))
		switch output {
		case answer:
			return []any{after}
		case answerUnknown:
			return []any{before, after}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprint(input, " -> ", output)
	},
}).ToModel()

// after is what a request does to the leases, and the answer to it.
func (s claimState) after(q claimRequest) (after claimState, answer any) {
	lease := &s[q.epoch]
	switch q.what {
	case doClaim:
		for _, later := range s[q.epoch+1:] {
			// An instance that is condemned has still its entry.
			if later > leaseCondemned || later == leaseCondemned && q.kind == KindInstance {
				return s, answerSuperseded
			}
		}
		for earlier := range q.epoch {
			s[earlier] = min(s[earlier], leaseCondemned)
		}
		*lease = leaseGood
	case doBeat:
		if *lease <= leaseCondemned {
			return s, answerLost
		}
		*lease = leaseGood
	case doReap:
		if *lease <= leaseExpired {
			*lease = leaseNone
		}
	case doLeave:
		*lease = leaseNone
	case doExpire:
		*lease = min(*lease, leaseExpired)
	case doWipe:
		return claimState{}, answerOK
	case doLook:
		return s, s
	}
	return s, answerOK
}

func TestClaimModel(t *testing.T) {
	now := int64(0)
	call := func(what string, epoch int, answer any) porcupine.Operation {
		now += 2
		return porcupine.Operation{Input: claimRequest{KindInstance, "n", what, epoch}, Output: answer, Call: now, Return: now + 1}
	}
	lasting := func(o porcupine.Operation, longer int64) porcupine.Operation { o.Return += longer; return o }
	cases := map[string]struct {
		ok      bool
		history []porcupine.Operation
	}{
		"a later start supersedes": {true, []porcupine.Operation{call(doClaim, 0, answerOK), call(doClaim, 1, answerOK), call(doClaim, 0, answerSuperseded)}},
		"two starts at a time":     {false, []porcupine.Operation{call(doClaim, 1, answerOK), call(doClaim, 0, answerOK)}},
		"unless the later is gone": {true, []porcupine.Operation{call(doClaim, 1, answerOK), call(doLeave, 1, answerOK), call(doClaim, 0, answerOK)}},
		"renewed although superseded": {false, []porcupine.Operation{
			call(doClaim, 0, answerOK), call(doClaim, 1, answerOK), call(doBeat, 0, answerOK)}},
		"reaped alive":   {false, []porcupine.Operation{call(doClaim, 0, answerOK), call(doReap, 0, answerOK), call(doBeat, 0, answerLost)}},
		"reaped expired": {true, []porcupine.Operation{call(doClaim, 0, answerOK), call(doExpire, 0, answerOK), call(doReap, 0, answerOK), call(doBeat, 0, answerLost)}},
		"back in time":   {false, []porcupine.Operation{call(doClaim, 0, answerOK), call(doExpire, 0, answerOK), call(doBeat, 0, answerOK), call(doReap, 0, answerOK), call(doBeat, 0, answerLost)}},
		"done, but the answer was lost": {true, []porcupine.Operation{
			lasting(call(doClaim, 1, answerUnknown), 10), call(doClaim, 0, answerOK), call(doBeat, 0, answerLost)}},
		"done after its end": {false, []porcupine.Operation{call(doClaim, 1, answerUnknown), call(doClaim, 0, answerOK), call(doBeat, 0, answerLost)}},
		"lost data":          {true, []porcupine.Operation{call(doClaim, 1, answerOK), call(doWipe, 0, answerOK), call(doClaim, 0, answerOK)}},
		"forgotten":          {false, []porcupine.Operation{call(doClaim, 0, answerOK), call(doLook, 0, claimState{})}},
	}
	for name, tc := range cases {
		if got := porcupine.CheckOperations(claimModel, tc.history); got != tc.ok {
			t.Errorf("%s: linearizable %v; want %v", name, got, tc.ok)
		}
	}
}

// TestLinearizableClaims lets several starts of each of two instances and two gateways
// claim, renew, reap and leave, while leases expire and Redis breaks, and looks for an
// order of the calls that explains every answer and what Redis has in the end.
func TestLinearizableClaims(t *testing.T) {
	rounds := 1
	if os.Getenv("BOREAS_SOAK") != "" {
		rounds = 15
	}
	for name, args := range map[string][]string{
		"no persistence": nil,
		"AOF":            {"--appendonly", "yes", "--appendfsync", "everysec"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t, redistest.Config{Args: args})
			c := &claims{t: t, srv: srv, nodes: connect(t, srv.URL()), namespace: freshNamespace(), start: time.Now()}
			c.run(rounds, args != nil)
			result, _ := porcupine.CheckOperationsVerbose(claimModel, c.operations, time.Minute)
			if result != porcupine.Ok {
				t.Errorf("the history is %s", result)
			}
			unknown := 0
			for _, o := range c.operations {
				if o.Output == answerUnknown {
					unknown++
				}
			}
			t.Logf("%d calls, of which %d got no answer", len(c.operations), unknown)
		})
	}
}

// claims is a history of leases.
type claims struct {
	t         *testing.T
	srv       *redistest.Server
	nodes     *redis.Client // with which nodes talk to Redis
	namespace string
	start     time.Time

	mu         sync.Mutex
	operations []porcupine.Operation // guarded by mu
	open       []int                 // guarded by mu: those that may still be done
}

var claimNodes = []struct {
	kind MemberKind
	name string
}{{KindInstance, "a"}, {KindInstance, "b"}, {KindGateway, "g"}, {KindGateway, "h"}}

func (c *claims) run(rounds int, durable bool) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var group sync.WaitGroup
	for n, node := range claimNodes {
		for epoch := range claimEpochs {
			random := rand.New(rand.NewPCG(uint64(n), uint64(epoch)))
			group.Go(func() { c.work(ctx, claimRequest{kind: node.kind, node: node.name, epoch: epoch}, random) })
		}
	}
	restart := func() {
		must(c.t, c.srv.Kill())
		must(c.t, c.srv.Restart())
	}
	freeze := func(d time.Duration) func() {
		return func() {
			must(c.t, c.srv.Stop())
			<-time.After(d)
			must(c.t, c.srv.Cont())
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	// Fault 21, a node that was paused for longer than its lease, is what expire does.
	faults := []func(){
		func() { c.fault(restart, !durable) },                                               // faults 1 and 2
		func() { c.fault(freeze(time.Duration(random.IntN(600))*time.Millisecond), false) }, // fault 3
		func() { c.fault(freeze(2*testTTL), false) },                                        // fault 4
		func() { c.fault(func() { must(c.t, c.srv.Client().FlushAll(ctx).Err()) }, true) },  // fault 10
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
	c.fault(func() {}, false)
	c.look()
}

// now is the time in the history.
func (c *claims) now() int64 { return int64(time.Since(c.start)) }

// fault runs f, which may wipe Redis, and ends what had got no answer: once Redis has
// closed the connections that it came on, it is done or never will be.
func (c *claims) fault(f func(), wipes bool) {
	call := c.now()
	f()
	if wipes {
		end := c.now()
		c.mu.Lock()
		for _, n := range claimNodes {
			c.operations = append(c.operations, porcupine.Operation{
				Input: claimRequest{kind: n.kind, node: n.name, what: doWipe}, Output: answerOK, Call: call, Return: end,
			})
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	ending := c.open
	c.open = nil
	c.mu.Unlock()
	must(c.t, c.srv.Client().Do(context.Background(), "client", "kill", "type", "normal", "skipme", "yes").Err())
	end := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range ending {
		c.operations[i].Return = end
	}
}

// work does what there is to do with the leases of one start of a node, until ctx ends.
func (c *claims) work(ctx context.Context, q claimRequest, random *rand.Rand) {
	r, err := New(Config{
		Client: c.nodes, Namespace: c.namespace, Self: inc(q.node, q.epoch+1), LeaseTTL: modelTTL, CallTimeout: testTTL / 2,
	})
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		q.what = []string{doClaim, doClaim, doBeat, doBeat, doReap, doLeave, doExpire}[random.IntN(7)]
		call := c.now()
		got := c.do(r, q)
		end := c.now()
		c.mu.Lock()
		if got == answerUnknown {
			end = 1 << 62 // until a fault's end says more
			c.open = append(c.open, len(c.operations))
		}
		c.operations = append(c.operations, porcupine.Operation{Input: q, Output: got, Call: call, Return: end})
		c.mu.Unlock()
		moment(random, 40)
	}
}

// do does what is asked, as the registry does it.
func (c *claims) do(r *Registry, q claimRequest) string {
	ctx, k := context.Background(), r.keys.service(chat.Name)
	lease, state := instanceMember(r.cfg.Self).String(), (&instance{service: chat, state: StateServing}).entry()
	if q.kind == KindGateway {
		lease, state = gatewayMember(r.cfg.Self, 1).String(), ""
	}
	var err error
	switch q.what {
	case doClaim:
		err = c.claim(ctx, r, q.kind, lease)
	case doBeat:
		beat := r.beatCall(k, lease, state, "")
		if err = r.exec(ctx, beat); err == nil && text(at(beat.reply, 0)) != "ok" {
			return answerLost
		}
	case doReap, doLeave:
		err = r.reap(ctx, chat.Name, lease, q.what == doLeave)
	case doExpire:
		ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
		defer cancel()
		err = c.nodes.Eval(ctx, `
			if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) > 0 then redis.call('ZADD', KEYS[1], 1, ARGV[1]) end
			return 1`, []string{k.leases}, lease).Err()
	}
	switch {
	case errors.Is(err, ErrSuperseded):
		return answerSuperseded
	case err != nil:
		return answerUnknown
	}
	return answerOK
}

func (c *claims) claim(ctx context.Context, r *Registry, kind MemberKind, lease string) error {
	if kind == KindInstance {
		return r.announceInstance(ctx, &instance{service: chat, state: StateServing})
	}
	l := newLane(r, chat.Name)
	l.next = lease // always the same generation, so that what follows knows its name
	return l.join(ctx)
}

// look adds what Redis has.
func (c *claims) look() {
	c.t.Helper()
	call := c.now()
	a, err := readAudit(context.Background(), c.srv.Client(), newKeyspace(c.namespace).service(chat.Name), nil)
	must(c.t, err)
	for _, n := range claimNodes {
		var state claimState
		for epoch := range claimEpochs {
			lease := instanceMember(inc(n.name, epoch+1)).String()
			if n.kind == KindGateway {
				lease = gatewayMember(inc(n.name, epoch+1), 1).String()
			}
			deadline, ok := a.leases[lease]
			switch {
			case !ok:
			case number(deadline) == 0:
				state[epoch] = leaseCondemned
			case number(deadline) == 1:
				state[epoch] = leaseExpired
			default:
				state[epoch] = leaseGood
			}
		}
		c.operations = append(c.operations, porcupine.Operation{
			Input: claimRequest{kind: n.kind, node: n.name, what: doLook}, Output: state, Call: call, Return: c.now(),
		})
	}
}
