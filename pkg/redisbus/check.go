package redisbus

import (
	"context"
	"errors"
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
// promises, and logs a warning for each. What the user may not see is not checked, and
// it says so.
func (t *Topology) Check(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	client := t.NewClient(ctx)
	defer func() { _ = client.Close() }()
	var mu sync.Mutex
	var found []string
	unseen := false
	one := func(ctx context.Context, c *redis.Client) error {
		s, problems := look(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		found = append(append(found, problems...), s.problems()...)
		unseen = unseen || s.unseen
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
	if unseen {
		log.Info("client-output-buffer-limit is not checked: Redis refuses CONFIG GET", "redis", t)
	}
}

// sight is what a server shows of itself.
type sight struct {
	info   string // the answer to INFO
	limits string // client-output-buffer-limit
	unseen bool   // the limits are not shown
}

// look asks one server. Being refused may be a problem itself.
func look(ctx context.Context, c *redis.Client) (s sight, problems []string) {
	var err error
	if s.info, err = c.Info(ctx).Result(); redis.HasErrorPrefix(err, "NOPERM") {
		problems = append(problems, "Redis does not let this user call INFO: pushes to users and groups may be lost, unnoticed, after a failover")
	}
	settings, err := c.ConfigGet(ctx, "client-output-buffer-limit").Result()
	var refusal redis.Error // no permission, or no such command, as at some vendors
	s.unseen = errors.As(err, &refusal)
	s.limits = settings["client-output-buffer-limit"]
	return s, problems
}

// problems are what is wrong with the server.
func (s sight) problems() (problems []string) {
	info := map[string]string{}
	for line := range strings.Lines(s.info) {
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
	limits := strings.Fields(s.limits)
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
