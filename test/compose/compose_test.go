package compose

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// limit bounds the whole test, which builds two programs from nothing.
const limit = 12 * time.Minute

func TestStack(t *testing.T) {
	if os.Getenv("BOREAS_COMPOSE_TEST") == "" {
		t.Skip("set BOREAS_COMPOSE_TEST to run it (make compose); it needs a Docker engine and takes minutes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := newStack(ctx, t)
	s.up("--build")

	t.Run("serves through the load balancer", s.with(serves))
}

// with makes a subtest of a test of the stack, whose failures are its own.
func (s *stack) with(f func(*stack)) func(*testing.T) {
	return func(t *testing.T) {
		start := time.Now()
		mine := *s
		mine.t = t
		f(&mine)
		t.Logf("took %v", time.Since(start).Round(100*time.Millisecond))
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
