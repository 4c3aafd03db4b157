package pushapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// TestHealth: the API is healthy while the gateway is ready.
func TestHealth(t *testing.T) {
	t.Parallel()
	own := redistest.Start(t, redistest.Config{})
	a, b := start(t, func(s *setup) { s.redis, s.gateway.DrainWindow = own, -1 })
	const serving, notServing = `"SERVING_STATUS_SERVING"`, `"SERVING_STATUS_NOT_SERVING"`
	is := func(s *server, service, want string) func() bool {
		return func() bool {
			_, text := s.do(s.request(http.MethodPost, "/grpc.health.v1.Health/Check", "application/json", `{"service":"`+service+`"}`, within(key, 0)))
			return strings.Contains(text, want)
		}
	}
	for service, want := range map[string]string{"": serving, "boreas.push.v1.PushService": serving, "boreas.push.v2.PushService": `"not_found"`} {
		if !is(a, service, want)() {
			t.Errorf("the health of %q is not %s", service, want)
		}
	}
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	a.eventually("Redis is missed", is(a, "", notServing))
	if err := own.Cont(); err != nil {
		t.Fatal(err)
	}
	a.eventually("Redis is back", is(a, "", serving))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.gateway.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if !is(a, "", notServing)() {
		t.Error("a gateway that was drained is healthy")
	}
	if b.gateway.Ready() == nil && !is(b, "", serving)() {
		t.Error("another one is not")
	}
	http.DefaultClient.CloseIdleConnections()
}
