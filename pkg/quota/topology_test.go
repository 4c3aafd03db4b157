package quota

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// TestTopologies: limits hold over several gateways on a Redis Cluster, for users in
// slots of all its masters, and with Sentinel; and they hold again after a failover.
func TestTopologies(t *testing.T) {
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t, redistest.Config{})
		testTopology(t, c, func(ctx context.Context, key string) error {
			owner, err := c.Owner(ctx, key)
			if err != nil {
				return err
			}
			return c.FailoverOf(ctx, owner)
		})
	})
	t.Run("sentinel", func(t *testing.T) {
		s := redistest.StartSentinel(t, redistest.Config{})
		testTopology(t, s, func(ctx context.Context, _ string) error { return s.Failover(ctx) })
	})
}

func testTopology(t *testing.T, redis interface{ URL() string }, failover func(ctx context.Context, key string) error) {
	const burst, connections, gateways = 100, 8, 4
	ns := namespace()
	limits := Limits{Connections: connections, MessageRate: Rate{PerSecond: 0.001, Burst: burst}}
	var all []*gateway
	for i := range gateways {
		all = append(all, start(t, redis, fmt.Sprintf("g%d", i), ns, Config{User: limits}))
	}
	users := []string{"alice", "bob", "carol", "dave", "erin", "frank"}
	for _, user := range users {
		var passed atomic.Int64
		var group sync.WaitGroup
		for _, g := range all {
			var c *Connection
			for range connections / gateways {
				c = g.connect(t, User, user)
			}
			group.Go(func() {
				for range burst {
					if c.Take(nil, 1) == nil {
						passed.Add(1)
					}
				}
			})
		}
		group.Wait()
		if n := passed.Load(); n > burst || n < burst*3/4 { // fewer if a gateway was slow to spend its lease
			t.Errorf("%d messages of %s passed; %d are allowed", n, user, burst)
		}
		for i, g := range all {
			if _, excess := g.try(t, User, user); excess == nil || excess.Limit != Connections {
				t.Errorf("gateway %d, one more connection of %s: %+v", i, user, excess)
			}
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if err := failover(ctx, all[0].subjectKey(User, users[0])); err != nil {
		t.Fatal(err)
	}
	for i, g := range all {
		eventually(t, fmt.Sprintf("gateway %d counts with the others again", i), func() bool {
			c, excess := g.try(t, User, users[0])
			if excess == nil {
				c.Close()
			}
			return excess != nil && excess.Limit == Connections
		})
	}
	c := all[0].connect(t, User, "grace") // and others are not shut out
	if excess := c.Take(nil, 1); excess != nil && excess.RetryAfter > time.Minute {
		t.Errorf("a new user's first message: %+v", excess)
	}
}
