package push

import (
	"context"
	"sync"

	"github.com/boreas-ws/boreas/pkg/wire"
)

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

func (h *Hub) flowTo(g wire.Incarnation) *flow {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.flows[g]
	if f == nil {
		f = newFlow()
		h.flows[g] = f
	}
	return f
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

// stall notes that the gateway does not answer.
func (f *flow) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = true
	f.wake()
}

// revive notes that it answered.
func (f *flow) revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = false
}

// wake wakes those who wait. mu is held.
func (f *flow) wake() {
	if f.freed != nil {
		close(f.freed)
		f.freed = nil
	}
}
