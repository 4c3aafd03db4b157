package registry

import (
	"context"
	"flag"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checksByDefault is rapid's own number of histories.
const checksByDefault = "100"

// histories runs n random histories, or as many as -rapid.checks says if that is
// not rapid's default.
func histories(t *testing.T, n int, f func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks").Value
	if checks.String() == checksByDefault {
		if err := checks.Set(strconv.Itoa(n)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Set(checksByDefault) }()
	}
	rapid.Check(t, f)
}

// servers runs f against a real redis-server and against miniredis, which
// `boreas dev` uses.
func servers(t *testing.T, f func(t *testing.T, client *redis.Client)) {
	t.Run("redis-server", func(t *testing.T) { f(t, realServer(t)) })
	t.Run("miniredis", func(t *testing.T) { f(t, miniServer(t)) })
}

func realServer(tb testing.TB) *redis.Client {
	return connect(tb, redistest.Start(tb, redistest.Config{}).URL())
}

func miniServer(tb testing.TB) *redis.Client {
	return connect(tb, "redis://"+miniredis.RunT(tb).Addr())
}

func sentinelClient(tb testing.TB) redis.UniversalClient {
	s := redistest.StartSentinel(tb, redistest.Config{})
	return closing(tb, redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: addrs(s.Sentinels), MaxRetries: -1, ContextTimeoutEnabled: true,
	}))
}

func clusterClient(tb testing.TB) redis.UniversalClient {
	c := redistest.StartCluster(tb, redistest.Config{})
	return closing(tb, redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs(c.Servers), MaxRetries: -1, ContextTimeoutEnabled: true,
	}))
}

func addrs(servers []*redistest.Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return list
}

func closing(tb testing.TB, client redis.UniversalClient) redis.UniversalClient {
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// flushAll empties all servers.
func flushAll(client redis.UniversalClient) error {
	ctx := context.Background()
	if c, ok := client.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
	}
	return client.FlushAll(ctx).Err()
}

// connect makes a client as the bus does: it never repeats by itself and obeys
// deadlines.
func connect(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(opts)
	tb.Cleanup(func() { client.Close() })
	return client
}

var namespaces atomic.Int64

// freshNamespace lets several histories share a server.
func freshNamespace() string { return "t" + strconv.FormatInt(namespaces.Add(1), 10) }

func inc(node string, epoch int) wire.Incarnation {
	return wire.Incarnation{Node: wire.NodeID(node), Epoch: wire.Epoch(epoch)}
}

// eventually waits until f returns "", which else says what is missing.
func eventually(tb testing.TB, within time.Duration, f func() string) {
	tb.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := f()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("after %v: %s", within, missing)
		}
	}
}

// mustHold fails if Redis breaks an invariant.
func mustHold(tb interface {
	Helper()
	Fatalf(string, ...any)
}, client redis.UniversalClient, namespace string) {
	tb.Helper()
	violations, err := Check(context.Background(), client, namespace)
	if err != nil {
		tb.Fatalf("check: %v", err)
	}
	for _, v := range violations {
		tb.Fatalf("invariant: %v", v)
	}
}
