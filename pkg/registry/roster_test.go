package registry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
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
// server, and only if nothing was lost since the generation began to write.
func TestMarks(t *testing.T) {
	servers(t, func(t *testing.T, client *redis.Client) {
		s := newSingle(t, client)
		ctx := context.Background()
		r := s.node(inc("r", 1), Hooks{})
		first, second := gatewayMember(inc("g", 1), 1).String(), gatewayMember(inc("g", 1), 2).String()
		a := GroupAudience("room")
		marks := r.keys.audience(a).marks
		mark := func(generation, state, want string) {
			t.Helper()
			calls := r.markCalls(generation, state, []int{a.shelf()})
			s.must(r.exec(ctx, calls...))
			if got := text(at(calls[0].reply, 0)); got != want {
				t.Errorf("%s is marked as %s: %s; want %s", generation, state, got, want)
			}
		}
		whole := func(want bool) {
			t.Helper()
			r.watch.view.Store(&View{Gateways: map[wire.Incarnation][]string{inc("g", 1): nil}})
			found, err := r.Hosts(ctx, a, false)
			s.must(err)
			if _, asked := found[inc("g", 1)]; asked == want {
				t.Errorf("the gateway is asked: %v", asked)
			}
		}
		mark(first, "whole", "lost")
		whole(false)
		mark(first, "writing", "ok")
		whole(false)
		mark(first, "whole", "ok")
		mark(first, "whole", "ok")
		whole(true)
		mark(second, "whole", "lost")
		mark(second, "writing", "ok")
		whole(false)
		s.must(client.Del(ctx, marks).Err())
		mark(second, "whole", "lost")
		mark(second, "writing", "ok")
		mark(second, "whole", "ok")
		s.must(r.unhost(ctx, first[len(gatewayPrefix):], []string{string(a)}))
		whole(true) // the reaped generation was an earlier one
		s.must(client.HSet(ctx, marks, "g#1", "2 whole another").Err())
		whole(false)
		mark(second, "whole", "lost")
		mark(second, "writing", "ok")
		mark(second, "whole", "ok")
		s.must(r.unhost(ctx, second[len(gatewayPrefix):], []string{string(a)}))
		whole(false)
	})
}
