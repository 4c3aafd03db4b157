package registry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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
		pipe.HSet(ctx, r.keys.audience(a).hosts, member.String()[len(gatewayPrefix):], "1 1 0")
	}
	_, err := pipe.Exec(ctx)
	s.must(err)
	s.must(r.reap(ctx, gatewaysEntry, member.String(), true))
	for _, pattern := range []string{"{g.*", "{gateways}:p:*"} {
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
