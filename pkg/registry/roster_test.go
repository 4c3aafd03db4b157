package registry

import (
	"context"
	"fmt"
	"testing"

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
