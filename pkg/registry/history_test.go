package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestHistories runs registries as they run in production, through random crashes,
// losses of data and goodbyes. The invariants are checked after every write, and
// in the end what the living remember, what Redis has and what everybody sees is the
// same.
func TestHistories(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		histories(t, 3, func(rt *rapid.T) {
			h := &history{cluster: newCluster(t, client)}
			defer h.end()
			steps := rapid.SliceOfN(rapid.SampledFrom([]string{
				"pin", "pin", "pin", "unpin", "unpin", "instance", "gateway", "crash instance", "crash gateway",
				"withdraw", "drain", "leave", "FLUSHALL", "SCRIPT FLUSH", "a moment",
			}), 20, 60).Draw(rt, "steps")
			random := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(rt, "seed")))
			h.addInstance()
			h.addGateway()
			for _, step := range steps {
				h.step(step, random)
			}
			h.group.Wait()
			h.settle(rt)
		})
	})
}

// history is a cluster and those of its nodes that live.
type history struct {
	*cluster
	instances, gateways []*node
	group               sync.WaitGroup // of calls of Pin

	mu       sync.Mutex
	problems []string // guarded by mu
}

func (h *history) end() {
	for _, n := range append(h.instances, h.gateways...) {
		n.crash()
	}
}

// writers are the scripts that change what Check reads. A check takes longer than the
// other scripts together, and registries that wait for checks miss their own times.
var writers = []*script{
	scriptAnnounce, scriptBeat, scriptJoin, scriptPins, scriptRestore, scriptReap,
	scriptRouteAnnounce, scriptRouteBeat, scriptRouteWithdraw,
}

// checked lets a registry check the invariants after each script that could break them.
func (h *history) checked(cfg *Config) {
	cfg.CallTimeout = soon // the checks take their time
	cfg.Hooks.Call = func(name string, _ int, _ time.Duration, err error) {
		if err != nil {
			return // the history ends registries in the middle of calls
		}
		if !slices.ContainsFunc(writers, func(s *script) bool { return s.name == name }) {
			return
		}
		violations, err := Check(context.Background(), h.client, h.namespace)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil {
			h.problems = append(h.problems, err.Error())
		}
		for _, v := range violations {
			h.problems = append(h.problems, fmt.Sprintf("after %s: %v", name, v))
		}
	}
}

func (h *history) addInstance() {
	if len(h.instances) < 4 {
		h.instances = append(h.instances, h.instance(fmt.Sprint("i", h.epoch), chat, h.checked))
	}
}

func (h *history) addGateway() {
	if len(h.gateways) < 3 {
		h.gateways = append(h.gateways, h.gateway(fmt.Sprint("g", h.epoch), h.checked))
	}
}

// take removes one of the nodes from the list; nil if only one is left.
func take(list *[]*node, random *rand.Rand) *node {
	if len(*list) < 2 {
		return nil
	}
	i := random.IntN(len(*list))
	n := (*list)[i]
	*list = append((*list)[:i:i], (*list)[i+1:]...)
	return n
}

func (h *history) step(step string, random *rand.Rand) {
	ctx := context.Background()
	g := h.gateways[random.IntN(len(h.gateways))]
	switch step {
	case "pin":
		for range random.IntN(20) {
			socket := wire.SocketID(fmt.Sprint("s", random.IntN(50)))
			patience := time.Duration(random.IntN(200)) * time.Millisecond
			h.group.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				_, err := g.Pin(ctx, chat.Name, socket)
				if err != nil && !errors.Is(err, ErrNoInstance) && !errors.Is(err, errUnpinned) && !errors.Is(err, ErrNotJoined) &&
					!unavailable(err) && !errors.Is(err, context.DeadlineExceeded) {
					h.t.Errorf("pin: %v", err)
				}
			})
		}
	case "unpin":
		for range random.IntN(20) {
			g.Unpin(chat.Name, wire.SocketID(fmt.Sprint("s", random.IntN(50))))
		}
	case "instance":
		h.addInstance()
	case "gateway":
		h.addGateway()
	case "crash instance":
		if n := take(&h.instances, random); n != nil {
			n.crash()
		}
	case "crash gateway":
		if n := take(&h.gateways, random); n != nil {
			n.crash()
		}
	case "withdraw":
		if n := take(&h.instances, random); n != nil {
			h.must(n.Withdraw(ctx, chat.Name))
			n.crash()
		}
	case "drain":
		h.must(h.instances[random.IntN(len(h.instances))].SetState(ctx, chat.Name, []State{StateServing, StateDraining}[random.IntN(2)]))
	case "leave":
		if n := take(&h.gateways, random); n != nil {
			h.must(n.LeaveGateway(ctx, "public"))
			n.crash()
		}
	case "FLUSHALL":
		h.must(h.client.FlushAll(ctx).Err())
	case "SCRIPT FLUSH":
		h.must(h.client.ScriptFlush(ctx).Err())
	case "a moment":
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
	}
}

func (h *history) must(err error) {
	if err != nil {
		h.t.Error(err)
	}
}

// settle waits until everything agrees.
func (h *history) settle(t *rapid.T) {
	deadline := time.Now().Add(soon)
	for {
		wrong := h.wrong()
		if wrong == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", soon, wrong)
		}
		<-time.After(10 * time.Millisecond)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, problem := range h.problems {
		t.Error(problem)
	}
}

// wrong says what does not agree yet.
func (h *history) wrong() string {
	if differs := h.same(h.gateways...); differs != "" {
		return differs
	}
	a, err := readAudit(context.Background(), h.client, newKeyspace(h.namespace).service(chat.Name), nil)
	if err != nil {
		return err.Error()
	}
	living := map[string]bool{}
	for _, n := range append(append([]*node(nil), h.instances...), h.gateways...) {
		living[n.cfg.Self.String()] = true
		if !n.View().Has(n.cfg.Self) && n.Pins(chat.Name) > 0 {
			return fmt.Sprintf("%v does not see itself", n.cfg.Self)
		}
		s := n.View().Services[chat.Name]
		if s == nil || len(s.Instances) != len(h.instances) {
			return fmt.Sprintf("%v sees %+v; %d instances live", n.cfg.Self, s, len(h.instances))
		}
		for _, i := range h.instances {
			if s.Instances[i.cfg.Self.Node].Incarnation != i.cfg.Self {
				return fmt.Sprintf("%v does not see %v", n.cfg.Self, i.cfg.Self)
			}
		}
	}
	for lease := range a.leases {
		if who, err := parseMember(lease); err != nil || !living[who.incarnation.String()] {
			return fmt.Sprintf("%s has a lease, but is dead", lease)
		}
	}
	return ""
}
