package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/registry"
)

// askRegistry checks the counts.
func (r *runner) askRegistry(ctx context.Context, row *Row) {
	var wrong []string
	ok := until(ctx, r.within(MaxCountDelay), func() bool {
		wrong = r.registryProblems(ctx)
		return len(wrong) == 0
	})
	if !ok {
		row.Problems = append(row.Problems, "registry: "+strings.Join(wrong, "; "))
	}
}

func (r *runner) registryProblems(ctx context.Context) (wrong []string) {
	client := r.backend.client()
	violations, err := registry.Check(ctx, client, namespace)
	if err != nil {
		return []string{err.Error()}
	}
	for _, v := range violations {
		wrong = append(wrong, v.String())
	}
	names, err := client.HKeys(ctx, serviceKey("i")).Result()
	if err != nil {
		return append(wrong, err.Error())
	}
	if living := r.instanceNames(); !slices.Equal(nodesOf(names), living) {
		wrong = append(wrong, fmt.Sprintf("Redis lists the instances %v; %v live", names, living))
	}
	pins, err := pinCount(ctx, client)
	if err != nil {
		return append(wrong, err.Error())
	}
	pinned := 0
	for _, s := range r.crowd.sessions() {
		if s.pinned() {
			pinned++
		}
	}
	if pins != pinned {
		wrong = append(wrong, fmt.Sprintf("%d pins for %d sessions", pins, pinned))
	}
	bound, err := r.boundSockets(ctx)
	if err != nil {
		return append(wrong, err.Error())
	}
	if bound != pins {
		wrong = append(wrong, fmt.Sprintf("%d pins for %d bindings in the memory of the gateways", pins, bound))
	}
	return wrong
}

// nodesOf returns the sorted nodes of names "<node>#<epoch>".
func nodesOf(names []string) []string {
	nodes := make([]string, len(names))
	for i, name := range names {
		nodes[i], _, _ = strings.Cut(name, "#")
	}
	slices.Sort(nodes)
	return nodes
}

// pinCount adds the connection counts of all instances.
func pinCount(ctx context.Context, client redis.UniversalClient) (int, error) {
	counts, err := client.ZRangeWithScores(ctx, serviceKey("c"), 0, -1).Result()
	if err != nil {
		return 0, err
	}
	total := 0
	for _, c := range counts {
		total += int(c.Score)
	}
	return total, nil
}
