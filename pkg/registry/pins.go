package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// MaxSocketID is the longest socket id that can be pinned, in bytes.
const MaxSocketID = 128

// Pin pins socket to the serving instance of service with the fewest pins (the
// first by name if several have as few), or returns the pin that it has. The node
// must be a gateway. Calls at the same time share exchanges with Redis.
//
// While Redis does not answer, Pin tries again until ctx ends or PinTimeout has
// passed, and then fails with [ErrUnavailable] or ctx's error. A Pin that failed
// leaves no pin behind once Redis answers. [ErrNoInstance] says that no instance
// serves, [ErrNotJoined] that the node is no gateway.
func (r *Registry) Pin(ctx context.Context, service string, socket wire.SocketID) (wire.Incarnation, error) {
	timeout := time.NewTimer(r.cfg.PinTimeout)
	defer timeout.Stop()
	at, err := r.pin(ctx, timeout.C, service, socket)
	for wait := firstBackoff; errors.Is(err, ErrNoInstance) && r.View().serves(service); wait = nextBackoff(wait) {
		// Redis lost data, and the instances have not written theirs again yet.
		select {
		case <-time.After(wait):
			at, err = r.pin(ctx, timeout.C, service, socket)
			continue
		case <-ctx.Done():
		case <-timeout.C:
		}
		break
	}
	if err != nil {
		return wire.Incarnation{}, fmt.Errorf("pin socket %q to service %q: %w", socket, service, err)
	}
	return at, nil
}

func (r *Registry) pin(ctx context.Context, timeout <-chan time.Time, service string, socket wire.SocketID) (wire.Incarnation, error) {
	if len(socket) == 0 || len(socket) > MaxSocketID {
		return wire.Incarnation{}, fmt.Errorf("the socket id has %d bytes; allowed are 1 to %d", len(socket), MaxSocketID)
	}
	w := newWaiter()
	l, err := r.ask(service, socket, w)
	if err != nil {
		return wire.Incarnation{}, err
	}
	select {
	case res := <-w.done:
		return res.instance, res.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout:
		err = fmt.Errorf("%w: no answer within %v", ErrUnavailable, r.cfg.PinTimeout)
	}
	res := l.abandon(socket, w)
	if res.err == nil || errors.Is(res.err, ErrNoInstance) {
		return res.instance, res.err // it came just now
	}
	if cause := l.failure(); cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return wire.Incarnation{}, err
}

// ask hands a request for a pin to the service's lane, which is made if need be.
func (r *Registry) ask(service string, socket wire.SocketID, w *waiter) (*lane, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, fmt.Errorf("%w: it has stopped", ErrUnavailable)
	}
	if !r.pinning {
		return nil, fmt.Errorf("%w: JoinGateway comes first", ErrNotJoined)
	}
	l := r.lanes[service]
	if l == nil {
		if err := wire.ValidateSlug(service); err != nil {
			return nil, fmt.Errorf("service name %w", err)
		}
		l = newLane(r, service)
		r.lanes[service] = l
		if r.spawn != nil {
			r.spawn(l.run)
		}
		r.watch.touch(service)
	}
	l.pin(socket, w)
	return l, nil
}

// Unpin removes the pin of socket in service, soon: after a Pin of the same socket
// that was called before, and before one that is called later. A Pin of the socket
// that still waits fails. While Redis does not answer, the removal is remembered.
func (r *Registry) Unpin(service string, socket wire.SocketID) {
	r.mu.Lock()
	l := r.lanes[service]
	r.mu.Unlock()
	if l != nil {
		l.unpin(socket)
	}
}

// Pins is how many pins this node has in service, as far as Redis confirmed them.
func (r *Registry) Pins(service string) int {
	r.mu.Lock()
	l := r.lanes[service]
	r.mu.Unlock()
	if l == nil {
		return 0
	}
	return l.count()
}
