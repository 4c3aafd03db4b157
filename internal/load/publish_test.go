package load

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/service"
)

// TestPublish: every client gets what the first publishes, once and in order, through
// a real gateway and service.
func TestPublish(t *testing.T) {
	bp, err := embedded.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer bp.Close(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	s := service.New("bench", bp, Router(), service.Config{})
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	gw, err := gateway.New("public", bp, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- gw.Run(ctx) }()
	server := httptest.NewServer(gw)
	defer server.Close()
	defer func() {
		cancel()
		<-over
		_ = s.Stop(context.Background())
	}()
	for tick := time.NewTicker(2 * time.Millisecond); !gw.CanServePath(PathPublish) || gw.Ready() != nil; <-tick.C {
	}
	r := run(t, Config{
		Targets: []string{"ws" + strings.TrimPrefix(server.URL, "http")}, Connections: 20, Ramp: -1,
		Duration: time.Second, Rate: 50, Publish: true, LostAfter: 20 * time.Second,
	})
	if !r.OK() || r.Sent == 0 || r.Received != 20*r.Sent {
		t.Errorf("%+v", r)
	}
}
