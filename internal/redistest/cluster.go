package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
	// failoverRetry is how long a replica may take to take over when asked to.
	failoverRetry = 3500 * time.Millisecond
)

// Cluster is a Redis Cluster of three masters with a replica each. A master that
// does not answer for a second and a half is replaced.
type Cluster struct {
	Servers []*Server // the first three start as masters; the replica of i is i+3
	cfg     Config
}

// StartCluster runs a [Cluster] for a test, until the test ends. Config.TCP is
// implied.
func StartCluster(tb TB, cfg Config) *Cluster {
	tb.Helper()
	c, err := RunCluster(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Logf("redistest: close: %v", err)
		}
	})
	return c
}

// RunCluster starts a [Cluster] outside of a test. The caller must Close it. ctx
// bounds the start only.
func RunCluster(ctx context.Context, cfg Config) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	c := &Cluster{cfg: cfg}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for i := range 2 * clusterMasters {
		bus, err := FreePort()
		if err != nil {
			return err
		}
		cfg := c.cfg
		cfg.TCP = true
		cfg.Args = append([]string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "1500",
			"--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0",
			"--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb", "--cluster-allow-replica-migration", "no",
		}, cfg.Args...)
		if cfg.TLS != nil {
			cfg.Args = append(cfg.Args, "--tls-cluster", "yes")
		}
		if cfg.Password != "" {
			cfg.Args = append(cfg.Args, "--masterauth", cfg.Password)
		}
		s, err := Run(ctx, cfg)
		if err != nil {
			return err
		}
		c.Servers = append(c.Servers, s)
		if err := s.Client().Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if err := s.Client().Do(ctx, "cluster", "meet", "127.0.0.1", c.Servers[0].port, c.busPort(0)).Err(); err != nil {
			return err
		}
	}
	for i, s := range c.Servers[:clusterMasters] {
		first, last := i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters-1
		if err := s.Client().Do(ctx, "cluster", "addslotsrange", first, last).Err(); err != nil {
			return err
		}
	}
	for i, s := range c.Servers[clusterMasters:] {
		id, err := c.Servers[i].Client().Do(ctx, "cluster", "myid").Text()
		if err != nil {
			return err
		}
		if err := until(ctx, "the replica takes its master", func() bool {
			return s.Client().Do(ctx, "cluster", "replicate", id).Err() == nil
		}); err != nil {
			return err
		}
	}
	return c.Settle(ctx)
}

// busPort is the port on which a server talks to the others.
func (c *Cluster) busPort(i int) string {
	return c.Servers[i].Client().ConfigGet(context.Background(), "cluster-port").Val()["cluster-port"]
}

// Close ends all processes.
func (c *Cluster) Close() error { return group(c.Servers).close() }

// URL is the address of the cluster.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr())
	}
	return c.cfg.TLS.url("redis+cluster", c.Servers[0].user(), strings.Join(addrs, ","), "")
}

// Settle waits until all servers agree that there are three masters, which own all
// slots, with a replica each that follows it.
func (c *Cluster) Settle(ctx context.Context) error {
	return until(ctx, "the cluster is settled", func() bool {
		for _, s := range c.Servers {
			info := s.Client().ClusterInfo(ctx).Val()
			nodes := s.Client().ClusterNodes(ctx).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_assigned:16384") ||
				strings.Count(nodes, "slave ") != clusterMasters || strings.Count(nodes, "master ") != clusterMasters ||
				strings.Contains(nodes, "fail") {
				return false
			}
			if r := s.Client().Info(ctx, "replication").Val(); !strings.Contains(r, "role:master") && !strings.Contains(r, "master_link_status:up") {
				return false
			}
		}
		return true
	})
}

// Masters returns the servers that own slots, as the first server that answers sees
// it.
func (c *Cluster) Masters(ctx context.Context) ([]*Server, error) {
	for _, s := range c.Servers {
		if s.PID() == 0 {
			continue
		}
		slots, err := s.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // as short, and allowed to more users
		if err != nil {
			continue
		}
		var masters []*Server
		seen := map[string]bool{}
		for _, r := range slots {
			if addr := r.Nodes[0].Addr; !seen[addr] {
				seen[addr] = true
				m, err := group(c.Servers).at(addr)
				if err != nil {
					return nil, err
				}
				masters = append(masters, m)
			}
		}
		return masters, nil
	}
	return nil, errors.New("no node of the cluster answers")
}

// Owner returns the server that owns the slot of a key.
func (c *Cluster) Owner(ctx context.Context, key string) (*Server, error) {
	for _, s := range c.Servers {
		if s.PID() == 0 {
			continue
		}
		slot, err := s.Client().ClusterKeySlot(ctx, key).Result()
		if err != nil {
			continue
		}
		slots, err := s.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // as short, and allowed to more users
		if err != nil {
			continue
		}
		for _, r := range slots {
			if r.Start <= int(slot) && int(slot) <= r.End {
				return group(c.Servers).at(r.Nodes[0].Addr)
			}
		}
	}
	return nil, fmt.Errorf("no server owns the slot of %q", key)
}

// Failover lets the replica of a master, chosen at random, take over (CLUSTER
// FAILOVER), and returns when it has.
func (c *Cluster) Failover(ctx context.Context) error {
	masters, err := c.Masters(ctx)
	if err != nil {
		return err
	}
	return c.FailoverOf(ctx, masters[rand.IntN(len(masters))])
}

// FailoverOf is Failover with the choice made.
func (c *Cluster) FailoverOf(ctx context.Context, master *Server) error {
	replica, err := c.replicaOf(ctx, master)
	if err != nil {
		return err
	}
	// The other masters refuse to vote again for the same slots for twice the node
	// timeout; the replica gives up then, without a word.
	for ctx.Err() == nil {
		_ = replica.Client().Do(ctx, "cluster", "failover").Err() // may come too early, too
		attempt, cancel := context.WithTimeout(ctx, failoverRetry)
		err := c.Promoted(attempt, master)
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the replica of %s did not take over: %w", master.Addr(), context.Cause(ctx))
}

func (c *Cluster) replicaOf(ctx context.Context, master *Server) (*Server, error) {
	for _, s := range c.Servers {
		info := s.Client().Info(ctx, "replication").Val()
		if strings.Contains(info, "role:slave") && strings.Contains(info, "master_port:"+strconv.Itoa(master.port)+"\r") {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s has no replica", master.Addr())
}

// Promoted waits until three masters other than before own all slots.
func (c *Cluster) Promoted(ctx context.Context, before *Server) error {
	return until(ctx, "another master took over", func() bool {
		for _, s := range c.Servers {
			if s == before || s.PID() == 0 {
				continue
			}
			if !strings.Contains(s.Client().ClusterInfo(ctx).Val(), "cluster_slots_ok:16384") {
				return false
			}
			for _, r := range s.Client().ClusterSlots(ctx).Val() { //nolint:staticcheck // as above
				if r.Nodes[0].Addr == before.Addr() {
					return false
				}
			}
		}
		return true
	})
}

// Migrate moves the slot of a key, with its keys, to another master.
func (c *Cluster) Migrate(ctx context.Context, key string) error {
	from, err := c.Owner(ctx, key)
	if err != nil {
		return err
	}
	masters, err := c.Masters(ctx)
	if err != nil {
		return err
	}
	to := masters[0]
	for to == from {
		to = masters[rand.IntN(len(masters))]
	}
	slot := from.Client().ClusterKeySlot(ctx, key).Val()
	fromID, toID := from.Client().Do(ctx, "cluster", "myid").Val(), to.Client().Do(ctx, "cluster", "myid").Val()
	if err := to.Client().Do(ctx, "cluster", "setslot", slot, "importing", fromID).Err(); err != nil {
		return err
	}
	if err := from.Client().Do(ctx, "cluster", "setslot", slot, "migrating", toID).Err(); err != nil {
		return err
	}
	for {
		keys, err := from.Client().ClusterGetKeysInSlot(ctx, int(slot), 100).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"migrate", "127.0.0.1", to.port, "", 0, 5000}
		if c.cfg.Password != "" {
			args = append(args, "auth", c.cfg.Password)
		}
		args = append(args, "keys")
		for _, k := range keys {
			args = append(args, k)
		}
		if err := from.Client().Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
	for _, s := range append([]*Server{to, from}, masters...) {
		if err := s.Client().Do(ctx, "cluster", "setslot", slot, "node", toID).Err(); err != nil {
			return err
		}
	}
	return nil
}
