package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limit bounds the whole test, which builds two programs from nothing.
const limit = 20 * time.Minute

func TestStack(t *testing.T) {
	if os.Getenv("BOREAS_COMPOSE_TEST") == "" {
		t.Skip("set BOREAS_COMPOSE_TEST to run it (make compose); it needs a Docker engine and takes minutes")
	}
	alone(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := newStack(ctx, t)

	t.Run("is valid with every profile", s.with(valid))
	s.up()
	t.Run("serves through the load balancer", s.with(serves))
	t.Run("tells who a client is", s.with(located))
	t.Run("is small", s.with(measured))
	t.Run("contains its containers", s.with(hardened))
	t.Run("chats in a browser", s.with(chats))
	s.up("--no-recreate", "--scale=gateway=4", "--scale=chat=3")
	t.Run("spreads over more", s.with(func(s *stack) { s.spread(24, 4, 3) }))
	t.Run("is observed", s.with(observed))
	t.Run("restarts one gateway after the other", s.with(restarted))
	t.Run("survives what breaks", s.with(broken))
	s.down()
	t.Run("runs on a Redis Cluster", s.with(clustered))
}

// valid lets docker compose check the file, without what this test adds to it.
func valid(s *stack) {
	for _, profile := range []string{"", "observability", "cluster", "*"} {
		cmd := exec.CommandContext(s.ctx, "docker", "compose", "--profile="+profile, "config", "--quiet")
		cmd.Dir, cmd.Env = root, s.env
		if _, err := output(cmd); err != nil {
			s.t.Error(err)
		}
	}
}

// observed waits until Prometheus has asked every gateway and every chat instance.
func observed(s *stack) {
	s.compose("--profile=observability", "up", "--detach", "--wait", "--no-recreate", "--no-deps", "prometheus")
	address := s.compose("--profile=observability", "port", "prometheus", "9090")
	query := func(expr string) (values map[string]float64, err error) {
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
				}
			}
		}
		text := s.get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return nil, err
		}
		values = map[string]float64{}
		for _, r := range answer.Data.Result {
			number, _ := r.Value[1].(string)
			if values[r.Metric["job"]], err = strconv.ParseFloat(number, 64); err != nil {
				return nil, err
			}
		}
		return values, nil
	}
	for expr, want := range map[string]map[string]float64{
		"sum by (job) (up)":   {"gateway": 4, "chat": 3},
		"count by (job) (up)": {"gateway": 4, "chat": 3},
		"count by (job) (boreas_gateway_messages_received_total > 0)": {"gateway": 4}, // of the clients before
	} {
		s.eventually(func() error {
			got, err := query(expr)
			if err == nil && !maps.Equal(got, want) {
				err = fmt.Errorf("%s: %v; want %v", expr, got, want)
			}
			return err
		})
	}
}

// clustered brings the system up on six Redis nodes.
func clustered(s *stack) {
	s.env = append(slices.Clone(s.env), "BOREAS_REDIS=redis+cluster://redis-node:6379")
	s.compose("--profile=cluster", "up", "--detach", "--wait", "--wait-timeout=240")
	s.spread(8, 2, 2)
	state := s.compose("--profile=cluster", "exec", "-T", "redis-node", "redis-cli", "cluster", "info")
	for _, want := range []string{"cluster_state:ok", "cluster_known_nodes:6", "cluster_size:3"} {
		if !strings.Contains(state, want) {
			s.t.Errorf("the cluster lacks %s:\n%s", want, state)
		}
	}
	pins := s.compose("exec", "-T", "redis", "redis-cli", "dbsize")
	if pins != "0" {
		s.t.Errorf("the single Redis has %s keys", pins)
	}
}

// with makes a subtest of a test of the stack, whose failures are its own.
func (s *stack) with(f func(*stack)) func(*testing.T) {
	return func(t *testing.T) {
		mine := *s
		mine.t, mine.began = t, time.Now()
		f(&mine)
		t.Logf("took %v", time.Since(mine.began).Round(100*time.Millisecond))
	}
}

func serves(s *stack) {
	if page := s.get("http://" + s.host() + "/"); !strings.Contains(page, "Boreas chat") {
		s.t.Errorf("the page is %q", page)
	}
	s.spread(8, 2, 2)
}

// spread connects n clients, and checks that the gateways get equal shares, that all
// instances have some, and that each client's messages keep their order.
func (s *stack) spread(n, gateways, instances int) {
	s.t.Helper()
	s.eventually(func() error { // until the load balancer has them all in its turn
		seen := map[string]bool{}
		for range 2 * gateways {
			c, err := dial(s.ctx, s.host())
			if err != nil {
				return err
			}
			defer c.ws.Close()
			p, err := c.place()
			if err != nil {
				return err
			}
			seen[p.Gateway] = true
		}
		if len(seen) != gateways {
			return fmt.Errorf("clients reach %d gateways; want %d", len(seen), gateways)
		}
		return nil
	})
	byGateway, byInstance := map[string]int{}, map[string]int{}
	for range n {
		c, err := dial(s.ctx, s.host())
		if err != nil {
			s.t.Fatal(err)
		}
		defer c.ws.Close()
		p, err := c.place()
		if err != nil {
			s.t.Fatal(err)
		}
		byGateway[p.Gateway]++
		byInstance[p.Instance]++
		if err := c.inOrder(20); err != nil {
			s.t.Error(err)
		}
	}
	s.t.Logf("%d clients: by gateway %v, by instance %v", n, byGateway, byInstance)
	for gateway, k := range byGateway {
		if k != n/gateways {
			s.t.Errorf("gateway %s has %d of %d clients; want %d", gateway, k, n, n/gateways)
		}
	}
	if len(byInstance) != instances {
		s.t.Errorf("the clients are on %d instances; want %d", len(byInstance), instances)
	}
}
