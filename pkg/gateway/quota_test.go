package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// gatewayWithQuota starts a gateway with a Quota on a node of its own.
func (w *world) gatewayWithQuota(cfg Config, limits quota.Config) *server {
	w.Helper()
	bp := w.node()
	limits.Client, limits.Namespace, limits.Self, limits.CallTimeout = redis.Client(), w.namespace, bp.Self(), 5*time.Second
	q, err := quota.New(limits)
	if err != nil {
		w.Fatal(err)
	}
	cfg.Quota = q
	return w.gatewayOn(bp, cfg)
}

// refused dials and returns the answer of the gateway, which must refuse.
func (s *server) refused() (status int, body string, after string) {
	s.w.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial(s.url("/ws"), nil)
	if err == nil {
		conn.Close()
		return 0, "", ""
	}
	if !errors.Is(err, websocket.ErrBadHandshake) {
		s.w.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header.Get("Retry-After")
}

// TestAddressQuota opens too many connections from one address, over two gateways,
// and then sends too much through one of them.
func TestAddressQuota(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	limits := quota.Config{Address: quota.Limits{Connections: 3, MessageRate: quota.Rate{PerSecond: 0.001, Burst: 10}}}
	a, b := w.gatewayWithQuota(Config{Hooks: hooks, RateGrace: -1}, limits), w.gatewayWithQuota(Config{Hooks: hooks, RateGrace: -1}, limits)
	w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/echo")}).echo()
	a.routed("/echo")
	first := a.dial()
	second := a.dial()
	b.dial()
	for _, s := range []*server{a, b} {
		status, body, after := s.refused()
		if status != http.StatusTooManyRequests || !strings.Contains(body, `"code":"address_limit"`) || after == "" || after == "0" {
			t.Errorf("the fourth connection: %d %s, Retry-After %q", status, body, after)
		}
		if got := receive(w, "the hook", limited); got != "address connections" {
			t.Errorf("limited: %s", got)
		}
	}
	second.Close()
	w.eventually("the place of the closed connection is free", func() bool {
		status, _, _ := b.refused()
		return status == 0
	})

	passed := 0
	for range 11 {
		first.put(message("/echo", "1", ""))
		if got := first.get(); got == message("/echo", "1", "") {
			passed++
		} else if !strings.Contains(got, `"rate_limited"`) {
			t.Fatalf("the client got %s", got)
		}
	}
	if passed < 6 || passed > 10 { // the other gateway has leased some of the 10
		t.Errorf("%d messages passed", passed)
	}
	first.put(message("/echo", "2", ""))
	if wait := first.wantError("2", wire.CodeRateLimited); wait < 900*time.Second {
		t.Errorf("it may try again after %v; a token takes 1000 s", wait)
	}
}

// alice is everybody.
type alice struct{}

func (alice) Authenticate(context.Context, *auth.Handshake) (wire.Identity, error) {
	return wire.Identity{User: "alice"}, nil
}

// TestUserQuota: connections of a user count wherever they come from, and a refused
// one takes nothing of its address.
func TestUserQuota(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gatewayWithQuota(Config{Hooks: hooks, Authenticator: alice{}}, quota.Config{
		Address: quota.Limits{Connections: 2}, User: quota.Limits{Connections: 1},
	})
	gw.dial()
	for range 3 {
		if status, body, _ := gw.refused(); status != http.StatusTooManyRequests || !strings.Contains(body, `"code":"user_limit"`) {
			t.Errorf("the second connection: %d %s", status, body)
		}
		if got := receive(w, "the hook", limited); got != "user connections" {
			t.Errorf("limited: %s", got)
		}
		w.eventually("the address has room again", func() bool {
			n, err := redis.Client().Eval(t.Context(), `local n = 0
				for _, k in ipairs(redis.call('KEYS', ARGV[1])) do
					for _, v in ipairs(redis.call('HVALS', k)) do n = n + v end
				end
				return n`, nil, "bo:"+w.namespace+":{qa.*").Int()
			return err == nil && n == 1
		})
	}
}

// TestQuotaWithoutLimits: a quota that limits nothing changes nothing.
func TestQuotaWithoutLimits(t *testing.T) {
	w := newWorld(t)
	gw := w.gatewayWithQuota(Config{}, quota.Config{})
	w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/echo")}).echo()
	gw.routed("/echo")
	c := gw.dial()
	c.put(message("/echo", "1", ""))
	c.want(message("/echo", "1", ""))
}
