package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestReapManyAudiences removes a gateway with so many audiences that a look at the
// begin of the index alone would find nothing after a while.
func TestReapManyAudiences(t *testing.T) {
	const audiences = 20_000
	client := realServer(t)
	s := newSingle(t, client)
	ctx, cancel := context.WithTimeout(context.Background(), 6*soon)
	defer cancel()
	r, member := s.node(inc("r", 1), Hooks{}), gatewayMember(inc("g", 1), 1)
	k := r.keys.gateways()
	s.must(client.ZAdd(ctx, k.leases, redis.Z{Member: member.String()}).Err())
	pipe := client.Pipeline()
	for i := range audiences {
		a := GroupAudience(fmt.Sprint(i))
		pipe.HSet(ctx, k.pinsOf(member.String()), string(a), "")
		pipe.HSet(ctx, r.keys.audience(a).hosts, member.String()[len(gatewayPrefix):], "1 1")
	}
	_, err := pipe.Exec(ctx)
	s.must(err)
	s.must(r.reap(ctx, gatewaysEntry, member.String(), true))
	for _, pattern := range []string{"{a*", "{gateways}:p:*"} {
		if keys, err := client.Keys(ctx, string(r.keys)+pattern).Result(); err != nil || len(keys) > 0 {
			t.Errorf("%d keys %s are left, %v", len(keys), pattern, err)
		}
	}
}

// TestOrphans: an entry whose generation has no lease, because it was written after
// Redis lost its data by a gateway that then crashed, goes when somebody looks.
func TestOrphans(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		s := newSingle(t, client)
		ctx := context.Background()
		r, a := s.node(inc("r", 1), Hooks{}), GroupAudience("room")
		hosts := r.keys.audience(a).hosts
		s.must(client.HSet(ctx, hosts, "dead#1.1", "1 1 0", "new#1.1", "2 1 0", "dying#1.2", "3 1 0").Err())
		s.must(client.ZAdd(ctx, r.keys.gateways().leases, redis.Z{Member: "g:new#1.1", Score: 1e15}, redis.Z{Member: "g:dying#1.2"}).Err())
		found, err := r.Hosts(ctx, a, true)
		s.must(err)
		if len(found) != 2 || found[inc("new", 1)].Members != 2 || found[inc("dying", 1)].Members != 3 {
			t.Errorf("found %v", found)
		}
		if left, err := client.HKeys(ctx, hosts).Result(); err != nil || len(left) != 2 {
			t.Errorf("%v are left, %v", left, err)
		}
	})
}

// TestDeafAndFenced: a node that lost its leases because the bus does not reach it
// does not ask Redis again and again.
func TestDeafAndFenced(t *testing.T) {
	client := realServer(t)
	s := newSingle(t, client)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	var alive atomic.Bool
	alive.Store(true)
	calls := map[string]int{}
	r, err := New(Config{
		Client: client, Namespace: s.namespace, Self: inc("g", 1), LeaseTTL: modelTTL, Alive: alive.Load,
		Hooks: Hooks{Call: func(script string, _ int, _ time.Duration, _ error) { calls[script]++ }},
	})
	s.must(err)
	roster, lane := newRoster(r), newLane(r, chat.Name)
	s.must(roster.work(ctx, nil))
	s.must(lane.work(ctx, nil))
	alive.Store(false)
	s.must(client.FlushAll(ctx).Err())
	roster.host(GroupAudience("room"), Hosting{Members: 1}, func([]Watcher, error) {})
	if err := roster.work(ctx, nil); !errors.Is(err, ErrUnavailable) || calls["index"] != 1 {
		t.Errorf("audiences: %v after %d calls", err, calls["index"])
	}
	lane.pin("s", newWaiter())
	if err := lane.work(ctx, nil); !errors.Is(err, ErrUnavailable) || calls["pins"] != 1 {
		t.Errorf("pins: %v after %d calls", err, calls["pins"])
	}
}

// TestMarks: a mark that a shelf is whole holds for one generation, for one run of the
// server, and only if nothing was lost since the generation began to write; and what
// comes late changes nothing.
func TestMarks(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		s := newSingle(t, client)
		ctx := context.Background()
		r := s.node(inc("r", 1), Hooks{})
		r.watch.view.Store(&View{Gateways: map[wire.Incarnation][]string{inc("g", 1): nil}})
		first, second := gatewayMember(inc("g", 1), 1), gatewayMember(inc("g", 1), 2)
		a := GroupAudience("room")
		k := r.keys.audience(a)
		run := func(what, want string, c *call) {
			t.Helper()
			s.must(r.exec(ctx, c))
			if got := text(at(c.reply, 0)); got != want {
				t.Errorf("%s: %s; want %s", what, got, want)
			}
		}
		mark := func(m member, state string, number, began uint64, want string) {
			t.Helper()
			run(fmt.Sprint(m, " is marked as ", state), want, r.markCall(m, state, a.shelf(), number, began))
		}
		host := func(m member, entry string, number uint64, want string) {
			t.Helper()
			run(fmt.Sprint(m, " has ", entry), want, r.hostCall(a, m, entry, "", number))
		}
		whole := func(want bool) {
			t.Helper()
			found, err := r.Hosts(ctx, a, false)
			s.must(err)
			if h, asked := found[inc("g", 1)]; asked && h.Members == 0 == want {
				t.Errorf("the gateway is asked: %v", found)
			}
		}
		mark(first, "whole", 1, 1, "lost")
		whole(false)
		mark(first, "writing", 2, 0, "ok")
		whole(false)
		mark(first, "whole", 3, 1, "lost")
		mark(first, "whole", 3, 2, "ok")
		mark(first, "whole", 4, 2, "ok")
		whole(true)
		host(first, "1 1", 5, "ok")
		host(first, "", 4, "late")
		mark(first, "writing", 4, 0, "late")
		whole(true)
		mark(second, "whole", 6, 2, "lost")
		mark(second, "writing", 6, 0, "ok")
		host(first, "9 1", 7, "late")
		whole(true) // there is an entry
		host(second, "", 7, "ok")
		whole(false)
		s.must(client.Del(ctx, k.marks, k.hosts).Err())
		mark(second, "whole", 8, 6, "lost")
		mark(second, "writing", 6, 0, "ok") // late, but who should know
		mark(second, "whole", 9, 8, "lost")
		mark(second, "writing", 10, 0, "ok")
		mark(second, "whole", 11, 10, "ok")
		s.must(r.unhost(ctx, first, []string{string(a)}))
		whole(true) // the reaped generation was an earlier one
		s.must(client.HSet(ctx, k.marks, "g#1", "2 10 11 whole another").Err())
		whole(false)
		mark(second, "whole", 12, 10, "lost")
		mark(second, "writing", 13, 0, "ok")
		mark(second, "whole", 14, 13, "ok")
		s.must(r.unhost(ctx, second, []string{string(a)}))
		whole(false)
	})
}

// TestMasterAgain: a server was a replica for a while, of one that lacked what was written
// last, and is a master again. A mark from before does not hold.
func TestMasterAgain(t *testing.T) {
	cfg := redistest.Config{TCP: true, Args: []string{"--repl-diskless-sync-delay", "0"}}
	a, b := redistest.Start(t, cfg), redistest.Start(t, cfg)
	ctx := context.Background()
	s := newSingle(t, connect(t, a.URL()))
	r := s.node(inc("r", 1), Hooks{})
	g := gatewayMember(inc("g", 1), 1)
	mark := func(state string, number uint64, want string) {
		t.Helper()
		c := r.markCall(g, state, 0, number, 1)
		s.must(r.exec(ctx, c))
		if got := text(at(c.reply, 0)); got != want {
			t.Errorf("the gateway is marked as %s: %s, want %s", state, got, want)
		}
	}
	follow := func(replica, master *redistest.Server) {
		t.Helper()
		host, port, _ := strings.Cut(master.Addr(), ":")
		s.must(replica.Client().ReplicaOf(ctx, host, port).Err())
		eventually(t, soon, func() string {
			info := replica.Client().Info(ctx, "replication").Val()
			if strings.Contains(info, "master_link_status:up") {
				return ""
			}
			return "the replica does not follow: " + info
		})
	}
	follow(b, a)
	mark("writing", 1, "ok")
	mark("whole", 2, "ok")
	mark("whole", 3, "ok") // as long as nothing happens
	s.must(b.Client().ReplicaOf(ctx, "no", "one").Err())
	follow(a, b)
	s.must(a.Client().ReplicaOf(ctx, "no", "one").Err())
	mark("whole", 4, "lost")
	mark("writing", 5, "ok")
}

// TestShelfTags: masters of a Redis Cluster with equally many slots have equally many
// shelves.
func TestShelfTags(t *testing.T) {
	slot := func(tag string) int { // CRC-16/XMODEM, as the specification of Redis Cluster says
		crc := uint16(0)
		for _, b := range []byte(tag) {
			crc ^= uint16(b) << 8
			for range 8 {
				top := crc >> 15
				crc = crc<<1 ^ top*0x1021
			}
		}
		return int(crc) % 16384
	}
	if slot("123456789") != 0x31c3 {
		t.Fatalf("slot %#x", slot("123456789"))
	}
	for n, tag := range shelfTags {
		if slot(tag)/(16384/shelves) != n {
			t.Errorf("%s is in slot %d", tag, slot(tag))
		}
	}
}

// cut lets commands fail before they reach Redis.
type cut struct{ breaks func(redis.Cmder) bool }

var errCut = errors.New("cut off")

func (c cut) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.breaks(cmd) {
			cmd.SetErr(errCut)
			return errCut
		}
		return next(ctx, cmd)
	}
}

func (c cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) (err error) {
		var rest []redis.Cmder
		for _, cmd := range cmds {
			if c.breaks(cmd) {
				cmd.SetErr(errCut)
				err = errCut
			} else {
				rest = append(rest, cmd)
			}
		}
		return errors.Join(err, next(ctx, rest))
	}
}

// cutting is a client whose commands can be made to fail.
func cutting(t *testing.T, client *redis.Client, breaks func(redis.Cmder) bool) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Network: client.Options().Network, Addr: client.Options().Addr})
	t.Cleanup(func() { _ = c.Close() })
	c.AddHook(cut{breaks})
	return c
}

// about reports whether a command names a key.
func about(cmd redis.Cmder, key string) bool { return slices.Contains(cmd.Args(), any(key)) }

// TestShelfAway: a shelf cannot be marked, or its server, which has no lease, is away. The
// lease is renewed, and audiences elsewhere are written; those of the shelf when it works
// again.
func TestShelfAway(t *testing.T) {
	plain := realServer(t)
	s := newSingle(t, plain)
	ctx := context.Background()
	var away, unmarkable atomic.Bool
	var beats atomic.Int64
	there, elsewhere := GroupAudience("room"), GroupAudience("another room")
	marks := newKeyspace(s.namespace).marks(there.shelf())
	r, err := New(Config{
		Client: cutting(t, plain, func(cmd redis.Cmder) bool {
			return about(cmd, marks) && (away.Load() || unmarkable.Load() && about(cmd, "writing"))
		}),
		Namespace: s.namespace, Self: inc("g", 1), LeaseTTL: modelTTL, CallTimeout: soon,
		Hooks: Hooks{Call: func(script string, _ int, _ time.Duration, err error) {
			if script == "beat" && err == nil {
				beats.Add(1)
			}
		}},
	})
	s.must(err)
	l := newRoster(r)
	unmarkable.Store(true)
	if err := l.work(ctx, nil); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a shelf could not be marked: %v", err)
	}
	var shown []Audience
	join := func(a Audience) { l.host(a, Hosting{Members: 1}, func([]Watcher, error) { shown = append(shown, a) }) }
	join(there)
	join(elsewhere)
	l.beatDue = true
	if err := l.work(ctx, nil); !errors.Is(err, ErrUnavailable) || beats.Load() != 1 || !slices.Equal(shown, []Audience{elsewhere}) {
		t.Errorf("%v, %d renewals, %v are shown", err, beats.Load(), shown)
	}
	l.beatDue = true
	if err := l.work(ctx, nil); !errors.Is(err, ErrUnavailable) || beats.Load() != 2 {
		t.Errorf("%v, %d renewals", err, beats.Load())
	}
	unmarkable.Store(false)
	s.must(l.work(ctx, nil))
	if !slices.Equal(shown, []Audience{elsewhere, there}) {
		t.Errorf("%v are shown", shown)
	}
	s.must(l.work(ctx, nil))
	if list := l.shelvesThat(func(s shelf) bool { return !s.whole }); len(list) > 0 {
		t.Errorf("shelves %v are not whole", list)
	}

	away.Store(true) // when all was well
	shown = nil
	join(there)
	join(elsewhere)
	if err := l.work(ctx, nil); !errors.Is(err, ErrUnavailable) || !slices.Equal(shown, []Audience{elsewhere}) {
		t.Errorf("%v, %v are shown", err, shown)
	}
	away.Store(false)
	s.must(l.work(ctx, nil))
	if !slices.Equal(shown, []Audience{elsewhere, there}) {
		t.Errorf("%v are shown", shown)
	}
}

// TestReapRemovesMarks: also of a gateway without audiences, when the first attempt fails.
func TestReapRemovesMarks(t *testing.T) {
	plain := realServer(t)
	s := newSingle(t, plain)
	ctx := context.Background()
	g := s.node(inc("g", 1), Hooks{})
	l := newRoster(g)
	s.must(l.work(ctx, nil))
	broken := false
	other, err := New(Config{
		Client: cutting(t, plain, func(cmd redis.Cmder) bool {
			gone := about(cmd, "gone") && !broken
			broken = broken || gone
			return gone
		}),
		Namespace: s.namespace, Self: inc("r", 1), LeaseTTL: modelTTL, CallTimeout: soon,
	})
	s.must(err)
	if err := other.reapGateway(ctx, l.member, true); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("an exchange was broken off: %v", err)
	}
	s.must(other.reapGateway(ctx, l.member, true))
	for n := range shelves {
		if left, err := plain.HKeys(ctx, g.keys.marks(n)).Result(); err != nil || !slices.Equal(left, []string{"begun"}) {
			t.Errorf("shelf %d: %v, %v", n, left, err)
		}
	}
}

// TestRevived: who was declared dead learns it, also if the exchange after the one that
// made it a gateway again fails. What it writes again is counted.
func TestRevived(t *testing.T) {
	plain := realServer(t)
	s := newSingle(t, plain)
	ctx := context.Background()
	var joined, broken atomic.Bool
	var rewritten []int
	r, err := New(Config{
		Client: cutting(t, plain, func(cmd redis.Cmder) bool {
			if about(cmd, scriptJoin.sha) {
				joined.Store(true)
			}
			return about(cmd, scriptNames.sha) && joined.Load() && broken.CompareAndSwap(false, true)
		}),
		Namespace: s.namespace, Self: inc("g", 1), LeaseTTL: modelTTL, CallTimeout: soon,
		Hooks: Hooks{Rewritten: func(entries int) { rewritten = append(rewritten, entries) }},
	})
	s.must(err)
	revived := 0
	r.OnRevived(func() { revived++ })
	broken.Store(true)
	l := newRoster(r)
	room := GroupAudience("room")
	l.host(room, Hosting{Members: 1}, func([]Watcher, error) {})
	s.must(l.work(ctx, nil))
	s.must(l.work(ctx, nil)) // marks the shelf as whole
	if len(rewritten) > 0 {
		t.Errorf("writes %v entries again of which none was lost", rewritten)
	}
	s.must(plain.ZAdd(ctx, l.keys.leases, redis.Z{Member: l.member}).Err()) // condemned
	joined.Store(false)
	broken.Store(false)
	l.beatDue = true
	if err := l.work(ctx, nil); !errors.Is(err, ErrUnavailable) || !broken.Load() {
		t.Fatalf("the names could not be written: %v", err)
	}
	s.must(l.work(ctx, nil))
	if revived != 1 {
		t.Errorf("revived %d times", revived)
	}
	if !slices.Equal(rewritten, []int{1}) {
		t.Errorf("wrote %v entries again after it was taken for dead", rewritten)
	}
	s.must(l.work(ctx, nil))
	s.must(plain.Del(ctx, r.keys.audience(room).marks).Err())
	l.beatDue = true
	s.must(l.work(ctx, nil))
	if !slices.Equal(rewritten, []int{1, 1}) {
		t.Errorf("wrote %v entries again after their shelf was lost, too", rewritten)
	}
}
