package push

import (
	"context"
	"sync"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// flowKey says whose pushes share a flow. Those that wait for slow clients have one of
// their own, so that the others do not wait for these.
type flowKey struct {
	gateway wire.Incarnation
	waits   bool // wire.PolicyWait
}

// flow bounds the pushes on their way to one gateway, so that a gateway whose clients
// do not keep up, or that is gone, is felt by those who push there and nobody else.
type flow struct {
	order chan struct{} // capacity 1: full while a push is being sent

	mu      sync.Mutex
	flight  int           // guarded by mu: bytes without a result
	freed   chan struct{} // guarded by mu: closed when flight shrinks; nil if nobody waits
	stalled bool          // guarded by mu: it left a push unanswered, and has not answered since
}

func newFlow() *flow { return &flow{order: make(chan struct{}, 1)} }

// begin waits, until ctx ends, for the pushes before; end lets the next one go.
func (f *flow) begin(ctx context.Context) bool {
	select {
	case f.order <- struct{}{}: // in any case if nobody waits, even if ctx has ended
		return true
	default:
	}
	select {
	case f.order <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *flow) end() { <-f.order }

func (h *Hub) flowTo(k flowKey) *flow {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.flows[k]
	if f == nil {
		f = newFlow()
		h.flows[k] = f
	}
	return f
}

// setStalled notes whether a gateway leaves pushes unanswered.
func (h *Hub) setStalled(g wire.Incarnation, stalled bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waits := range []bool{false, true} {
		if f := h.flows[flowKey{g, waits}]; f != nil {
			f.setStalled(stalled)
		}
	}
}

// take waits for room for n bytes until ctx ends; for a stalled gateway it does not
// wait.
func (f *flow) take(ctx context.Context, n int) (room, stalled bool) {
	for {
		f.mu.Lock()
		stalled = f.stalled
		if f.flight == 0 || f.flight+n <= maxFlight {
			f.flight += n
			f.mu.Unlock()
			return true, stalled
		}
		if stalled || ctx == expired {
			f.mu.Unlock()
			return false, stalled
		}
		if f.freed == nil {
			f.freed = make(chan struct{})
		}
		freed := f.freed
		f.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false, false
		}
	}
}

// give returns room for n bytes.
func (f *flow) give(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flight = max(f.flight-n, 0)
	f.wake()
}

// setStalled notes whether the gateway leaves pushes unanswered.
func (f *flow) setStalled(stalled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled = stalled; stalled {
		f.wake()
	}
}

// wake wakes those who wait. mu is held.
func (f *flow) wake() {
	if f.freed != nil {
		close(f.freed)
		f.freed = nil
	}
}
