package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/registry"
)

// mendTimeout bounds the wait, before a fault, for Redis to have got over the one
// before; promotionTimeout the wait for a promotion: sentinels that find the machine
// too busy do nothing for half a minute.
const (
	mendTimeout      = 60 * time.Second
	promotionTimeout = 60 * time.Second
)

// sentinelFaults are over when a replica was promoted.
func sentinelFaults() []Fault {
	// during injects into a group that is well, and is told its master.
	during := func(f func(context.Context, *experiment, *sentinelBackend, *redistest.Server) error) func(context.Context, *experiment) error {
		return func(ctx context.Context, e *experiment) error {
			s := e.backend.(*sentinelBackend)
			mending, cancel := context.WithTimeout(ctx, mendTimeout)
			defer cancel()
			if err := s.mend(mending); err != nil {
				return err
			}
			master, err := s.Master(ctx)
			if err != nil {
				return err
			}
			ctx, cancel = context.WithTimeout(ctx, promotionTimeout)
			defer cancel()
			return f(ctx, e, s, master)
		}
	}
	return []Fault{
		{Number: 13, Name: "SENTINEL FAILOVER", Backend: Sentinel, inject: during(
			func(ctx context.Context, _ *experiment, s *sentinelBackend, _ *redistest.Server) error {
				return s.Failover(ctx)
			})},
		{Number: 14, Name: "master kill -9 under Sentinel", Backend: Sentinel, inject: during(
			func(ctx context.Context, _ *experiment, s *sentinelBackend, master *redistest.Server) error {
				if err := master.Kill(); err != nil {
					return err
				}
				return s.Promoted(ctx, master)
			})},
		{Number: 15, Name: "master hung and back", Backend: Sentinel, inject: during(
			func(ctx context.Context, e *experiment, s *sentinelBackend, master *redistest.Server) error {
				if err := master.Stop(); err != nil {
					return err
				}
				if err := s.Promoted(ctx, master); err != nil {
					return err
				}
				// The clients must move while the old master still hangs.
				recovering := e.recovering(ctx)
				pause(ctx, e.between(0, 2*MaxRecovery))
				err := master.Cont()
				recovering()
				return err
			})},
		// The gateway is gone before the master is: nobody waits for its lease.
		{Number: 16, Name: "replication tail lost", Backend: Sentinel, codes: []int{killed}, inject: during(loseTail)},
	}
}

// loseTail cuts the replicas off while the sessions of a gateway are pinned anew,
// then kills the master: the next one has never seen those pins.
func loseTail(ctx context.Context, e *experiment, s *sentinelBackend, master *redistest.Server) error {
	passwords := func(password string) error {
		for _, r := range s.Servers {
			if r == master {
				continue
			}
			if err := r.Client().ConfigSet(ctx, "masterauth", password).Err(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := passwords("wrong"); err != nil { // the master, which wants none, refuses it
		return err
	}
	if err := master.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		return err
	}
	if err := e.replaceGateway(ctx, e.rand.IntN(len(e.gateways))); err != nil {
		return err
	}
	pause(ctx, time.Second)
	if err := master.Kill(); err != nil {
		return err
	}
	if err := passwords(""); err != nil {
		return err
	}
	return s.Promoted(ctx, master)
}

// crowdKeys are the keys under which pushers find the gateways of the user and of the
// group that all clients are in: each is on one of the shelves. If the fault before lost
// them, they are there again soon.
func (e *experiment) crowdKeys(ctx context.Context) (keys []string, err error) {
	audiences := []registry.Audience{registry.UserAudience(crowdName), registry.GroupAudience(crowdName)}
	if !until(ctx, e.within(MaxCountDelay), func() bool {
		keys, err = e.keysOf(ctx, audiences)
		return err == nil && len(keys) == len(audiences)
	}) {
		return nil, errors.Join(violation(fmt.Sprintf("Redis has just %q of the user and the group that all clients are in", keys)), err)
	}
	return keys, nil
}

func (e *experiment) keysOf(ctx context.Context, audiences []registry.Audience) (keys []string, err error) {
	primaries, err := e.backend.primaries(ctx)
	for _, p := range primaries {
		for _, a := range audiences {
			found, failed := p.Client().Keys(ctx, "bo:"+namespace+":{*}:"+string(a)).Result()
			keys, err = append(keys, found...), errors.Join(err, failed)
		}
	}
	return keys, err
}

// clusterFaults are over when every slot has a master.
func clusterFaults() []Fault {
	during := func(f func(context.Context, *experiment, *clusterBackend) error) func(context.Context, *experiment) error {
		return func(ctx context.Context, e *experiment) error {
			c := e.backend.(*clusterBackend)
			mending, cancel := context.WithTimeout(ctx, mendTimeout)
			defer cancel()
			if err := c.mend(mending); err != nil {
				return err
			}
			ctx, cancel = context.WithTimeout(ctx, mendTimeout)
			defer cancel()
			return f(ctx, e, c)
		}
	}
	return []Fault{
		{Number: 17, Name: "slot migration under load", Backend: Cluster, inject: during(
			func(ctx context.Context, e *experiment, c *clusterBackend) error {
				keys := []string{"{routes}", "{" + service + ".0}", "{gateways}"}
				for _, p := range e.processes() {
					keys = append(keys, "{"+p.Name+"}")
				}
				audiences, err := e.crowdKeys(ctx)
				if err != nil {
					return err
				}
				keys = append(keys, audiences...)
				for _, key := range keys {
					if err := c.Migrate(ctx, key); err != nil {
						return fmt.Errorf("migrate %s: %w", key, err)
					}
					pause(ctx, e.between(0, 500*time.Millisecond))
				}
				return nil
			})},
		{Number: 18, Name: "Cluster master kill -9", Backend: Cluster, inject: during(
			func(ctx context.Context, e *experiment, c *clusterBackend) error {
				masters, err := c.Masters(ctx)
				if err != nil {
					return err
				}
				victim := masters[e.rand.IntN(len(masters))]
				if err := victim.Kill(); err != nil {
					return err
				}
				return c.Promoted(ctx, victim)
			})},
		{Number: 19, Name: "CLUSTER FAILOVER loop", Backend: Cluster, inject: during(
			func(ctx context.Context, _ *experiment, c *clusterBackend) error {
				masters, err := c.Masters(ctx)
				if err != nil {
					return err
				}
				for _, m := range masters {
					if err := c.FailoverOf(ctx, m); err != nil {
						return err
					}
				}
				return nil
			})},
	}
}
