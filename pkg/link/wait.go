package link

import (
	"context"
	"time"
)

// waiter is a Send that waits for room. The goroutine that makes room copies the
// frame on its behalf, so that waiting Sends are served in order and none retries.
type waiter struct {
	head, payload []byte
	done          chan error // capacity 1
	next, prev    *waiter
}

func newWaiter() any { return &waiter{done: make(chan error, 1)} }

// waitList is a queue of waiters.
type waitList struct {
	first, last *waiter
	n           int
}

func (q *waitList) push(w *waiter) {
	w.prev, w.next = q.last, nil
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.n++
}

func (q *waitList) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	q.n--
	w.next, w.prev = nil, nil
}

// finish removes w and ends its Send with err.
func (q *waitList) finish(w *waiter, err error) {
	q.remove(w)
	w.done <- err
}

// failAll ends all waiting Sends with err.
func (q *waitList) failAll(err error) {
	for q.first != nil {
		q.finish(q.first, err)
	}
}

// wait blocks until the frame was accepted, the link broke or ctx ended. The
// caller holds l.mu, which wait releases.
func (l *Link) wait(ctx context.Context, head, payload []byte) error {
	w := l.mesh.waiters.Get().(*waiter)
	w.head, w.payload = head, payload
	l.waiting.push(w)
	l.mu.Unlock()
	start := time.Now()
	var err error
	select {
	case err = <-w.done:
	case <-ctx.Done():
		l.mu.Lock()
		select {
		case err = <-w.done: // served in the meantime
		default:
			l.waiting.remove(w)
			err = context.Cause(ctx)
			if l.waiting.n > 0 {
				l.admit() // a smaller frame behind it may fit
			}
		}
		l.unlock()
	}
	if f := l.mesh.cfg.Hooks.WindowFull; f != nil {
		f(time.Since(start))
	}
	w.head, w.payload = nil, nil
	l.mesh.waiters.Put(w)
	return err
}

// admit copies the frames of waiting Sends for which there is room. The caller
// holds l.mu.
func (l *Link) admit() {
	for w := l.waiting.first; w != nil && l.snd.fits(len(w.head)+len(w.payload)); w = l.waiting.first {
		l.snd.push(w.head, w.payload)
		l.waiting.finish(w, nil)
	}
}
