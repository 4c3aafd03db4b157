package chaos

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/redisbus"
)

// sentinelBackend is a master with replicas and sentinels. Nodes reach it directly.
type sentinelBackend struct {
	*redistest.Sentinel
	all redis.UniversalClient
}

func startSentinel(ctx context.Context) (*sentinelBackend, error) {
	s, err := redistest.RunSentinel(ctx, redistest.Config{})
	if err != nil {
		return nil, err
	}
	all, err := clientOf(s.URL())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &sentinelBackend{Sentinel: s, all: all}, nil
}

func (s *sentinelBackend) url(string) (string, error) { return s.URL(), nil }

func (s *sentinelBackend) client() redis.UniversalClient { return s.all }

func (s *sentinelBackend) servers() []*redistest.Server { return s.Servers }

func (s *sentinelBackend) primaries(ctx context.Context) ([]*redistest.Server, error) {
	master, err := s.Master(ctx)
	return []*redistest.Server{master}, err
}

func (s *sentinelBackend) owner(ctx context.Context, _ string) (*redistest.Server, error) {
	return s.Master(ctx)
}

func (s *sentinelBackend) Close() error { return errors.Join(s.all.Close(), s.Sentinel.Close()) }

// mend starts again what an earlier fault killed, and waits until all is well.
func (s *sentinelBackend) mend(ctx context.Context) error {
	return errors.Join(restartDead(s.Servers), s.Settle(ctx))
}

// clusterBackend is a cluster. Nodes reach it directly.
type clusterBackend struct {
	*redistest.Cluster
	all redis.UniversalClient
}

func startCluster(ctx context.Context) (*clusterBackend, error) {
	c, err := redistest.RunCluster(ctx, redistest.Config{})
	if err != nil {
		return nil, err
	}
	all, err := clientOf(c.URL())
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &clusterBackend{Cluster: c, all: all}, nil
}

func (c *clusterBackend) url(string) (string, error) { return c.URL(), nil }

func (c *clusterBackend) client() redis.UniversalClient { return c.all }

func (c *clusterBackend) servers() []*redistest.Server { return c.Servers }

func (c *clusterBackend) primaries(ctx context.Context) ([]*redistest.Server, error) {
	return c.Masters(ctx)
}

func (c *clusterBackend) owner(ctx context.Context, key string) (*redistest.Server, error) {
	return c.Owner(ctx, key)
}

func (c *clusterBackend) Close() error { return errors.Join(c.all.Close(), c.Cluster.Close()) }

// mend is as for sentinels.
func (c *clusterBackend) mend(ctx context.Context) error {
	return errors.Join(restartDead(c.Servers), c.Settle(ctx))
}

func restartDead(servers []*redistest.Server) error {
	for _, s := range servers {
		if s.PID() == 0 {
			if err := s.Restart(); err != nil {
				return err
			}
		}
	}
	return nil
}

func clientOf(url string) (redis.UniversalClient, error) {
	top, err := redisbus.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return top.NewClient(context.Background()), nil
}
