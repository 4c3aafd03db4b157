package pushapi

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
)

// memory remembers the answers of this gateway's pushes with an idempotency key: also
// when Redis, which the other gateways ask, cannot be reached or has lost its data.
type memory struct {
	size   int
	ttl    time.Duration
	defect func(panicked any) error

	mu      sync.Mutex
	entries map[memoryKey]*list.Element // guarded by mu; of *remembered
	order   list.List                   // guarded by mu: oldest first
}

type memoryKey struct{ caller, key string }

// remembered is a push that is under way or was done.
type remembered struct {
	// immutable
	key  memoryKey
	hash [sha256.Size]byte // of the request
	made time.Time

	done     chan struct{} // closed when response is set
	response *pushv1.PushResponse
	err      error
}

func (e *remembered) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func (m *memory) init(size int, ttl time.Duration, defect func(panicked any) error) {
	m.size, m.ttl, m.defect = size, ttl, defect
	m.entries = map[memoryKey]*list.Element{}
}

// once calls do unless that was done under this key, and returns its answer. A caller who
// goes away does not end it: whoever repeats the push waits for it, and gets the answer.
// An error of do must mean that nothing was sent: who waited for it tries again, in its
// turn. The context of do ends with the deadline of ctx.
func (m *memory) once(ctx context.Context, key memoryKey, hash [sha256.Size]byte, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	for {
		e, mine := m.enter(key, hash)
		if mine {
			go m.run(ctx, e, do)
		}
		if e.hash != hash {
			return nil, errUsed()
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, failure(ctx.Err())
		}
		switch {
		case mine:
			return e.response, e.err
		case e.err == nil:
			again := proto.CloneOf(e.response)
			again.Repeated = true
			return again, nil
		}
	}
}

// run does what an entry stands for.
func (m *memory) run(ctx context.Context, e *remembered, do func(context.Context) (*pushv1.PushResponse, error)) {
	ctx, cancel := detach(ctx)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			e.response, e.err = nil, m.defect(p)
		}
		if e.err != nil {
			m.forget(e)
		}
		close(e.done)
	}()
	e.response, e.err = do(ctx)
}

// detach returns a context that ends with the deadline of ctx, but not when ctx is
// cancelled.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(detached, end)
	}
	return detached, func() {}
}

// enter returns what is remembered under a key; mine: nothing was. To make room the
// oldest are forgotten, but none that is under way.
func (m *memory) enter(key memoryKey, hash [sha256.Size]byte) (e *remembered, mine bool) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	old := func(at *list.Element) bool {
		e := at.Value.(*remembered)
		return e.over() && now.Sub(e.made) >= m.ttl
	}
	if have := m.entries[key]; have != nil && !old(have) {
		return have.Value.(*remembered), false
	}
	for at := m.order.Front(); at != nil && (m.order.Len() >= m.size || old(at)); {
		next := at.Next()
		if at.Value.(*remembered).over() {
			m.remove(at)
		}
		at = next
	}
	e = &remembered{key: key, hash: hash, made: now, done: make(chan struct{})}
	m.entries[key] = m.order.PushBack(e)
	return e, true
}

func (m *memory) forget(e *remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.entries[e.key]; at != nil && at.Value == e {
		m.remove(at)
	}
}

// remove takes out an element. mu is held.
func (m *memory) remove(at *list.Element) {
	delete(m.entries, at.Value.(*remembered).key)
	m.order.Remove(at)
}
