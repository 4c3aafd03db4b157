package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
)

// outageGrace is how long Redis may be away before a gateway calls itself
// unready: connected clients stay either way, and taking all gateways out of a
// load balancer for an outage that they share would only lose the clients that
// come meanwhile.
const outageGrace = 15 * time.Second

// routeGrace is how long a gateway that starts waits for a first route. If Redis has
// just lost its data, the services announce their routes again within that time; a
// client that came before would be told that there are none.
const routeGrace = 2 * time.Second

// readiness answers /readyz. The zero value is that of a starting process.
type readiness struct {
	mu      sync.Mutex
	gateway *gateway.Gateway
	started time.Time // when a probe first found the gateway ready, though it may know no route
	served  bool      // the gateway was ready once, for clients
	outage  time.Time // when a probe first found Redis away; zero while it is there
}

// serve says that the gateway has started.
func (r *readiness) serve(gw *gateway.Gateway) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gateway = gw
}

// ready reports why new clients should go elsewhere; nil if they should come.
func (r *readiness) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gateway == nil {
		return errors.New("starting: Redis has not answered yet")
	}
	return r.judge(time.Now(), r.gateway.Ready(), r.gateway.HasRoutes())
}

// judge overlooks what the gateway says of itself (unready) as long as it is only a
// short outage of Redis.
func (r *readiness) judge(now time.Time, unready error, routes bool) error {
	if unready == nil && r.started.IsZero() {
		r.started = now
	}
	switch {
	case unready == nil && !r.served && !routes && now.Sub(r.started) < routeGrace:
		return errors.New("starting: no service has announced a route yet")
	case unready == nil:
		r.served, r.outage = true, time.Time{}
		return nil
	case !r.served || !errors.Is(unready, gateway.ErrUnreachable):
		return unready
	case r.outage.IsZero():
		r.outage = now
		return nil
	case now.Sub(r.outage) < outageGrace:
		return nil
	default:
		return fmt.Errorf("no answer from Redis for %v", now.Sub(r.outage).Round(time.Second))
	}
}
