package browser

import (
	"context"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/service"
)

// run runs a gateway and a service until the test ends, and returns when the gateway
// routes a path to it.
func run(ctx context.Context, t *testing.T, gw *gateway.Gateway, s *service.Service, path string) {
	t.Helper()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- s.Run(running) }()
	go func() { ended <- gw.Run(running) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !gw.CanServePath(path) || gw.Ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the route is not known")
		}
	}
}
