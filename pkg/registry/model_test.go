package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestScripts runs random histories of gateways and instances, one exchange after
// the other, so that each can be checked: after every script the invariants hold,
// every pin goes where it should, and in the end memory equals Redis.
func TestScripts(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) { runModel(t, 40, client) })
	t.Run("sentinel", func(t *testing.T) { runModel(t, 5, sentinelClient(t)) })
	t.Run("cluster", func(t *testing.T) { runModel(t, 5, clusterClient(t)) })
}

func runModel(t *testing.T, n int, client redis.UniversalClient) {
	histories(t, n, func(t *rapid.T) {
		m := newModel(t, client)
		t.Repeat(map[string]func(*rapid.T){
			"":                  func(t *rapid.T) { mustHold(t, client, m.namespace) },
			"announce":          m.announce,
			"withdraw":          m.withdraw,
			"start instance":    m.startInstance,
			"start gateway":     m.startGateway,
			"pin":               m.pin,
			"pin again":         m.pin,
			"unpin":             m.unpin,
			"repin":             m.repin,
			"many":              m.many,
			"beat":              m.beat,
			"die":               m.die,
			"reap the living":   m.reapLiving,
			"leave":             m.leave,
			"lose an answer":    m.loseAnswer,
			"late duplicate":    m.lateDuplicate,
			"lose the last pin": m.loseTail,
			"FLUSHALL":          m.flushAll,
			"SCRIPT FLUSH":      func(*rapid.T) { client.ScriptFlush(context.Background()) },
		})
		m.settle(t)
	})
}

const modelService = "chat"

// model is a cluster whose nodes do only what the test tells them to.
type model struct {
	client    redis.UniversalClient
	namespace string
	keys      serviceKeys
	instances []*instanceNode
	gateways  []*lane
	epoch     int
	sent      []*call // calls of pins.lua that may come again, late
}

type instanceNode struct {
	r *Registry
	i *instance
}

// modelTTL is long: leases expire when the test says so.
const modelTTL = time.Hour

func newModel(t *rapid.T, client redis.UniversalClient) *model {
	if err := flushAll(client); err != nil {
		t.Fatal(err)
	}
	namespace := freshNamespace()
	m := &model{client: client, namespace: namespace, keys: newKeyspace(namespace).service(modelService)}
	m.startInstance(t)
	m.startGateway(t)
	return m
}

// node makes a registry that checks the invariants after every script.
func (m *model) node(t *rapid.T, name string) *Registry {
	m.epoch++
	r, err := New(Config{
		Client: m.client, Namespace: m.namespace, Self: inc(name, m.epoch), LeaseTTL: modelTTL, CallTimeout: 10 * time.Second, Batch: 8,
		Hooks: Hooks{Call: func(script string, _ int, _ time.Duration, err error) {
			if err != nil {
				t.Fatalf("script %s: %v", script, err)
			}
			mustHold(t, m.client, m.namespace)
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *model) startInstance(t *rapid.T) {
	if len(m.instances) == 4 {
		return
	}
	r := m.node(t, rapid.SampledFrom([]string{"i1", "i2", "i3"}).Draw(t, "node"))
	m.instances = append(m.instances, &instanceNode{r: r, i: &instance{service: Service{Name: modelService}, state: StateServing}})
	m.announceInstance(t, m.instances[len(m.instances)-1])
}

func (m *model) startGateway(t *rapid.T) {
	if len(m.gateways) == 3 {
		return
	}
	r := m.node(t, rapid.SampledFrom([]string{"g1", "g2", "g3"}).Draw(t, "node"))
	m.gateways = append(m.gateways, newLane(r, modelService))
}

func (m *model) announceInstance(t *rapid.T, n *instanceNode) {
	err := n.r.announceInstance(context.Background(), n.i)
	if err != nil && !(errors.Is(err, ErrSuperseded) && m.superseded(t, n.r)) {
		t.Fatalf("announce %v: %v", n.r.self(), err)
	}
	m.reapAll(t, n.r)
}

// superseded reports whether Redis has a later start of r's node.
func (m *model) superseded(t *rapid.T, r *Registry) bool {
	for lease, deadline := range m.audit(t).leases {
		who, err := parseMember(lease)
		if err != nil {
			t.Fatal(err)
		}
		if who.incarnation.Node == r.cfg.Self.Node && who.incarnation.Epoch > r.cfg.Self.Epoch && number(deadline) > 0 {
			return true
		}
	}
	return false
}

func (m *model) announce(t *rapid.T) {
	if n := one(t, m.instances); n != nil {
		n.i.state = rapid.SampledFrom([]State{StateServing, StateServing, StateDraining}).Draw(t, "state")
		m.announceInstance(t, n)
	}
}

func (m *model) withdraw(t *rapid.T) {
	if n := one(t, m.instances); n != nil && len(m.instances) > 1 {
		if err := n.r.reap(context.Background(), modelService, instanceMember(n.r.cfg.Self).String(), true); err != nil {
			t.Fatal(err)
		}
		m.instances = slices.DeleteFunc(m.instances, func(have *instanceNode) bool { return have == n })
	}
}

func one[T any](t *rapid.T, list []*T) *T {
	if len(list) == 0 {
		return nil
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
}

func someSocket(t *rapid.T) wire.SocketID {
	return wire.SocketID(fmt.Sprintf("s%d", rapid.IntRange(1, 12).Draw(t, "socket")))
}

// work lets a lane do what there is to do. Superseded ones cannot.
func (m *model) work(t *rapid.T, l *lane) bool {
	if err := l.work(context.Background(), nil); err != nil {
		if errors.Is(err, ErrSuperseded) && m.superseded(t, l.r) {
			return false
		}
		t.Fatalf("work: %v", err)
	}
	m.reapAll(t, l.r)
	return true
}

// reapAll does what the reaper's goroutine would.
func (m *model) reapAll(t *rapid.T, r *Registry) {
	for s, leaves, ok := r.reaper.next(); ok; s, leaves, ok = r.reaper.next() {
		if err := r.reap(context.Background(), s.service, s.member, leaves); err != nil {
			t.Fatal(err)
		}
	}
}

// best is where a pin belongs: what the script should choose, found another way.
func (m *model) best(t *rapid.T) wire.Incarnation {
	a := m.audit(t)
	best, least := "", int64(0)
	for _, name := range slices.Sorted(maps.Keys(a.entries)) {
		if a.entries[name][:8] != "serving " || number(a.leases[instancePrefix+name]) <= 1 && m.sound(a) {
			continue
		}
		if n := number(a.counts[name]); best == "" || n < least {
			best, least = name, n
		}
	}
	return incarnation(best)
}

// sound reports whether some serving instance has a good lease.
func (m *model) sound(a audit) bool {
	for name, entry := range a.entries {
		if entry[:8] == "serving " && number(a.leases[instancePrefix+name]) > 1 {
			return true
		}
	}
	return false
}

func (m *model) audit(t *rapid.T) audit {
	var hashes []string
	a, err := readAudit(context.Background(), m.client, m.keys, hashes)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (m *model) pin(t *rapid.T) {
	l := one(t, m.gateways)
	if l == nil {
		return
	}
	l.beatDue = true // finds out what is wrong, so that what is chosen does not depend on a restore
	if !m.work(t, l) {
		return
	}
	socket := someSocket(t)
	had := l.set.settled[socket]
	want := m.best(t)
	w := newWaiter()
	l.pin(socket, w)
	m.remember(l)
	m.work(t, l)
	got := <-w.done
	switch {
	case !had.IsZero():
		if got.instance != had {
			t.Fatalf("%s was pinned to %v; pinning it again gave %v, %v", socket, had, got.instance, got.err)
		}
	case want.IsZero():
		if !errors.Is(got.err, ErrNoInstance) {
			t.Fatalf("no instance serves, but pin gave %v, %v", got.instance, got.err)
		}
	case got.instance != want || got.err != nil:
		t.Fatalf("pin gave %v, %v; the serving instance with the fewest pins is %v", got.instance, got.err, want)
	}
}

func (m *model) unpin(t *rapid.T) {
	if l := one(t, m.gateways); l != nil {
		l.unpin(someSocket(t))
		m.remember(l)
		m.work(t, l)
	}
}

// repin is what follows the loss of an instance.
func (m *model) repin(t *rapid.T) {
	if l := one(t, m.gateways); l != nil {
		socket, w := someSocket(t), newWaiter()
		l.unpin(socket)
		l.pin(socket, w)
		if !m.work(t, l) {
			return
		}
		<-w.done
	}
}

// many gathers requests for several batches, some of which their callers give up.
func (m *model) many(t *rapid.T) {
	l := one(t, m.gateways)
	if l == nil {
		return
	}
	for range rapid.IntRange(1, 30).Draw(t, "requests") {
		socket := someSocket(t)
		switch rapid.IntRange(0, 3).Draw(t, "request") {
		case 0:
			l.unpin(socket)
		case 1:
			w := newWaiter()
			l.pin(socket, w)
			l.abandon(socket, w)
		default:
			l.pin(socket, newWaiter())
		}
	}
	m.work(t, l)
}

func (m *model) beat(t *rapid.T) {
	if l := one(t, m.gateways); l != nil {
		l.beatDue = true
		m.work(t, l)
	}
	if n := one(t, m.instances); n != nil {
		m.beatInstance(t, n)
	}
}

func (m *model) beatInstance(t *rapid.T, n *instanceNode) {
	c := n.r.beatCall(m.keys, instanceMember(n.r.cfg.Self).String(), n.i.entry(), "")
	if err := n.r.exec(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if text(c.reply[0]) != "ok" {
		m.announceInstance(t, n)
	}
}

// die lets the lease of a member expire, which others then reap, or which comes
// back (a process that was suspended).
func (m *model) die(t *rapid.T) {
	a := m.audit(t)
	if len(a.leases) == 0 {
		return
	}
	victim := rapid.SampledFrom(slices.Sorted(maps.Keys(a.leases))).Draw(t, "victim")
	if number(a.leases[victim]) > 0 {
		m.client.ZAdd(context.Background(), m.keys.leases, redis.Z{Score: 1, Member: victim})
	}
	reaper := m.node(t, "reaper")
	if rapid.Bool().Draw(t, "reap") {
		if err := reaper.reap(context.Background(), modelService, victim, false); err != nil {
			t.Fatal(err)
		}
	}
	if rapid.Bool().Draw(t, "for ever") {
		m.instances = slices.DeleteFunc(m.instances, func(n *instanceNode) bool {
			return instanceMember(n.r.cfg.Self).String() == victim
		})
		m.gateways = slices.DeleteFunc(m.gateways, func(l *lane) bool { return l.member == victim })
	}
}

// reapLiving suspects somebody whose lease is good.
func (m *model) reapLiving(t *rapid.T) {
	for lease, deadline := range m.audit(t).leases {
		if number(deadline) <= 1 {
			continue
		}
		if err := m.node(t, "reaper").reap(context.Background(), modelService, lease, false); err != nil {
			t.Fatal(err)
		}
		if m.audit(t).leases[lease] != deadline {
			t.Fatalf("%s was reaped, though its lease was good until %s", lease, deadline)
		}
	}
}

func (m *model) leave(t *rapid.T) {
	if l := one(t, m.gateways); l != nil && l.member != "" {
		if err := l.r.reap(context.Background(), modelService, l.member, true); err != nil {
			t.Fatal(err)
		}
		m.gateways = slices.DeleteFunc(m.gateways, func(have *lane) bool { return have == l })
	}
}

// remember keeps the batch that l is about to send.
func (m *model) remember(l *lane) {
	if !l.joined {
		return
	}
	args := []any{l.member, ms(modelTTL)}
	for _, e := range l.set.fresh {
		code := opPin
		if !e.want {
			code = opUnpin
		}
		args = append(args, code, string(e.socket))
	}
	k := m.keys
	m.sent = append(m.sent, &call{
		script: scriptPins, args: args,
		keys: []string{k.instances, k.counts, k.leases, k.clock, k.pinsOf(l.member), k.checksums},
	})
}

// lateDuplicate lets an exchange that was given up, and tried again, arrive after
// all, long after.
func (m *model) lateDuplicate(t *rapid.T) {
	if c := one(t, m.sent); c != nil {
		if err := m.node(t, "late").exec(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// loseAnswer runs a batch whose answer is lost, and goes on from there.
func (m *model) loseAnswer(t *rapid.T) {
	l := one(t, m.gateways)
	if l == nil || !m.work(t, l) || !l.joined {
		return
	}
	for range rapid.IntRange(1, 4).Draw(t, "requests") {
		if rapid.Bool().Draw(t, "pin") {
			l.pin(someSocket(t), newWaiter())
		} else {
			l.unpin(someSocket(t))
		}
	}
	batch := l.set.take(8, nil)
	if rapid.Bool().Draw(t, "it ran") && len(batch) > 0 {
		args := []any{l.member, ms(modelTTL)}
		for _, op := range batch {
			args = append(args, op.code, string(op.entry.socket))
		}
		k := m.keys
		if err := l.r.exec(context.Background(), &call{
			script: scriptPins, args: args,
			keys: []string{k.instances, k.counts, k.leases, k.clock, k.pinsOf(l.member), k.checksums},
		}); err != nil {
			t.Fatal(err)
		}
	}
	l.set.unknown(batch)
	if rapid.Bool().Draw(t, "then unpin") {
		l.unpin(someSocket(t))
	}
	if rapid.Bool().Draw(t, "then pin") {
		l.pin(someSocket(t), newWaiter())
	}
	m.work(t, l)
}

// loseTail is a replica that became the primary without the last pins.
func (m *model) loseTail(t *rapid.T) {
	l := one(t, m.gateways)
	if l == nil || len(l.set.settled) == 0 || !l.joined {
		return
	}
	socket := rapid.SampledFrom(slices.Sorted(maps.Keys(l.set.settled))).Draw(t, "socket")
	k := m.keys
	if err := l.r.exec(context.Background(), &call{
		script: scriptPins, args: []any{l.member, ms(modelTTL), opUnpin, string(socket)},
		keys: []string{k.instances, k.counts, k.leases, k.clock, k.pinsOf(l.member), k.checksums},
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *model) flushAll(t *rapid.T) {
	if err := flushAll(m.client); err != nil {
		t.Fatal(err)
	}
}

// settle reaps those that died for ever, lets everybody else beat twice (the first
// beat may find out, the second must find everything right), and compares.
func (m *model) settle(t *rapid.T) {
	ctx, reaper := context.Background(), m.node(t, "reaper")
	for lease := range m.audit(t).leases {
		if !m.lives(lease) {
			m.client.ZAdd(ctx, m.keys.leases, redis.Z{Score: 1, Member: lease})
			if err := reaper.reap(ctx, modelService, lease, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		for _, n := range m.instances {
			m.beatInstance(t, n)
		}
		for _, l := range m.gateways {
			l.beatDue = true
			m.work(t, l)
		}
	}
	a := m.audit(t)
	for lease := range a.leases {
		if !m.lives(lease) {
			t.Errorf("Redis has %s, which is dead", lease)
		}
	}
	for _, n := range m.instances {
		if _, ok := a.entries[n.r.self()]; !ok && !m.superseded(t, n.r) {
			t.Errorf("instance %s lives, but has no entry", n.r.self())
		}
	}
	for _, l := range m.gateways {
		if m.superseded(t, l.r) {
			continue
		}
		if len(l.set.pending) > 0 {
			t.Errorf("gateway %s has %d sockets in doubt", l.member, len(l.set.pending))
		}
		remembered := map[string]string{}
		for socket, at := range l.set.settled {
			remembered[string(socket)] = at.String()
		}
		if !maps.Equal(remembered, a.pins[l.member]) {
			t.Errorf("gateway %s remembers %v; Redis has %v", l.member, remembered, a.pins[l.member])
		}
	}
}

// lives reports whether a lease is that of a node that has not died for ever.
func (m *model) lives(lease string) bool {
	return slices.ContainsFunc(m.instances, func(n *instanceNode) bool { return instanceMember(n.r.cfg.Self).String() == lease }) ||
		slices.ContainsFunc(m.gateways, func(l *lane) bool { return l.member == lease })
}
