package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/test/cluster"
)

// programs are built once, before the tests.
var programs cluster.Programs

func TestMain(m *testing.M) {
	os.Exit(cluster.Main(m, &programs, func() error { return goleak.Find() }))
}

// system is a Redis with gateways and instances around it.
type system struct {
	redis    *redistest.Server // the one that counts looks at
	url      string            // of the nodes
	gateways []*cluster.Gateway
	probes   []*cluster.Probe
	env      []string // of gateways, as NAME=value
}

// startSystem runs a system until the test ends. Flags of all instances follow.
func startSystem(t *testing.T, gateways, instances int, flags ...string) *system {
	t.Helper()
	s := &system{redis: redistest.Start(t, redistest.Config{})}
	s.url = s.redis.URL()
	for i := range instances {
		s.addProbe(t, fmt.Sprintf("probe-%d", i), flags...)
	}
	for i := range gateways {
		s.addGateway(t, fmt.Sprintf("gw-%d", i))
	}
	return s
}

func (s *system) addGateway(t *testing.T, name string, flags ...string) *cluster.Gateway {
	t.Helper()
	programs := programs
	programs.Env = append(s.env, programs.Env...)
	g, err := programs.StartGateway(t.Context(), name, s.url, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, g.Process) })
	s.gateways = append(s.gateways, g)
	return g
}

func (s *system) addProbe(t *testing.T, name string, flags ...string) *cluster.Probe {
	t.Helper()
	p, err := programs.StartProbe(t.Context(), name, s.url, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, p.Process) })
	s.probes = append(s.probes, p)
	return p
}

// end kills a process and shows its log if the test failed.
func end(t *testing.T, p *cluster.Process) {
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", p.Name, p.Log())
	}
}

// eventually polls check until it returns "", and fails with its last word when
// that takes longer than within.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %v: %s", within, problem)
		}
	}
}

// counts reads the connection counts of a service's instances from Redis, by node.
func (s *system) counts(t *testing.T, service string) map[string]int {
	t.Helper()
	members, err := s.redis.Client().ZRangeWithScores(t.Context(), "bo:boreas:{"+service+".0}:c", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int, len(members))
	for _, m := range members {
		name, _ := m.Member.(string)
		inc, err := parseNode(name)
		if err != nil {
			t.Fatal(err)
		}
		counts[inc] += int(m.Score)
	}
	return counts
}
