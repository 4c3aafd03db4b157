package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

const (
	// oldest is the first version of Redis with all that we use.
	oldest = 7
	// subscriberHard and subscriberSoft are the buffer limits of Redis for a
	// subscriber, in bytes, that we rely on; they are its defaults.
	subscriberHard, subscriberSoft = 32 << 20, 8 << 20
)

// Check looks for versions and settings of Redis with which Boreas cannot keep its
// promises, and logs a warning for each. What the user may not see is not checked.
func (t *Topology) Check(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	client := t.NewClient(ctx)
	defer func() { _ = client.Close() }()
	var mu sync.Mutex
	var found []string
	one := func(ctx context.Context, c *redis.Client) error {
		problems := check(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		found = append(found, problems...)
		return nil
	}
	switch c := client.(type) {
	case *clusterClient:
		_ = c.ForEachMaster(ctx, one)
	case *masterClient:
		_ = one(ctx, c.Client)
	case *redis.Client:
		_ = one(ctx, c)
	}
	slices.Sort(found)
	for _, problem := range slices.Compact(found) { // the same in all masters of a cluster
		log.Warn(problem, "redis", t)
	}
}

// check returns what is wrong with one server.
func check(ctx context.Context, c *redis.Client) (problems []string) {
	info := map[string]string{}
	text, err := c.Info(ctx).Result()
	if redis.HasErrorPrefix(err, "NOPERM") {
		problems = append(problems, "Redis does not let this user call INFO: pushes to users and groups may be lost, unnoticed, after a failover")
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	if version, known := info["redis_version"]; known {
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < oldest {
			problems = append(problems, fmt.Sprintf("Redis %s is too old; version %d or later is needed", version, oldest))
		}
	}
	if policy, known := info["maxmemory_policy"]; known && policy != "noeviction" {
		problems = append(problems, "Redis may evict the registry; set maxmemory-policy to noeviction, not "+policy)
	}
	limits := strings.Fields(c.ConfigGet(ctx, "client-output-buffer-limit").Val()["client-output-buffer-limit"])
	if i := slices.Index(limits, "pubsub"); i >= 0 && len(limits) > i+3 {
		hard, _ := strconv.ParseInt(limits[i+1], 10, 64)
		soft, _ := strconv.ParseInt(limits[i+2], 10, 64)
		if hard > 0 && hard < subscriberHard || soft > 0 && soft < subscriberSoft {
			problems = append(problems, fmt.Sprintf("Redis disconnects nodes that fall behind early; set client-output-buffer-limit to "+
				"\"pubsub 33554432 8388608 60\" or more, not %q", strings.Join(limits[i:i+4], " ")))
		}
	}
	return problems
}
