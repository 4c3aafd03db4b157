package router

import (
	"context"
	"sync/atomic"
	"time"
)

// worker is the goroutine that handles messages of a socket, one after the other,
// as long as it is its turn. A handler that loses the turn finishes beside the
// worker that takes it over.
type worker struct {
	socket *socket
	turn   uint64        // guarded by the socket's mu
	at     *Context      // of the message being handled; owned by the goroutine
	began  time.Duration // when that one was given to the handlers, since clock
	timed  bool          // began is set

	sends atomic.Uint64 // started
	sent  atomic.Uint64 // returned
}

// send hands a message to the transport, and notes that it does: the time that it
// takes there is not held against the handler.
func (w *worker) send(ctx context.Context, s *socket, out Outgoing) error {
	w.sends.Add(1)
	defer w.sent.Add(1)
	return s.conn.Send(ctx, out)
}

// clock is when the process started; turns are measured from it, which is cheaper
// than a time.Now each.
var clock = time.Now()

// schedule sees to it that the first message of the queue is handled as soon as it
// may be. mu is held.
func (s *socket) schedule() {
	switch {
	case s.queue.len() == 0:
	case s.owner != nil:
		s.watch()
	case s.config.MaxHandlers > 0 && s.workers >= s.config.MaxHandlers:
		call(s.config.Hooks.HandlerLimit)
	default:
		w := &worker{socket: s}
		s.workers++
		s.give(w)
		go w.work()
	}
}

func (s *socket) give(w *worker) {
	s.turn++
	s.owner, w.turn = w, s.turn
	s.since, s.blocked = time.Since(clock), 0
}

// release passes the turn on because its holder waits. mu is held.
func (s *socket) release(w *worker, turn uint64) {
	if s.owner == w && s.turn == turn {
		s.owner = nil
		s.schedule()
		s.settle()
	}
}

// work handles messages until it is another worker's turn or there are none.
func (w *worker) work() {
	growStack(0)
	defer w.leave()
	for {
		m, ok := w.take()
		if !ok {
			return
		}
		w.handle(m)
	}
}

// stackNeeded is what the handlers of a small message take of a stack, in bytes.
const stackNeeded = 6 << 10

// growStack grows the stack of a fresh goroutine while there is next to nothing on
// it that would have to be moved. Growing it step by step below the handlers took a
// third of the CPU time of a lone message, and half of one that is decoded.
//
//go:noinline
func growStack(i int) byte {
	var room [stackNeeded]byte
	return room[i]
}

// take returns the next message if it is, or can be, this worker's turn.
func (w *worker) take() (queued, bool) {
	s := w.socket
	s.mu.Lock()
	w.at = nil
	mine := s.owner == w && s.turn == w.turn
	if !mine && s.owner != nil {
		s.mu.Unlock()
		w.handled()
		return queued{}, false
	}
	if s.queue.len() == 0 {
		s.owner = nil
		s.mu.Unlock()
		w.handled()
		return queued{}, false
	}
	before, timed := w.began, w.timed
	s.give(w)
	m := s.queue.pop()
	w.began, w.timed = s.since, !m.opening
	if s.queue.len() > 0 {
		s.watch()
	}
	took := s.since - before
	s.mu.Unlock()
	if hook := s.config.Hooks.Handled; hook != nil && timed {
		hook(took) // the clock need not be read again
	}
	if !m.opening {
		s.conn.Consumed(len(m.data))
	}
	return m, true
}

// handled tells the hook of a message whose worker has nothing more to do.
func (w *worker) handled() {
	if hook := w.socket.config.Hooks.Handled; hook != nil && w.timed {
		hook(time.Since(clock) - w.began)
		w.timed = false
	}
}

// leave ends the worker, also when a handler ended its goroutine.
func (w *worker) leave() {
	s := w.socket
	if w.at != nil {
		s.finish(w.at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers--
	if s.owner == w {
		s.owner = nil
	}
	s.schedule()
	s.settle()
}

// watch makes sure that a turn ends in time. mu is held.
func (s *socket) watch() {
	if s.timed || s.closed {
		return
	}
	timeout := s.config.TurnTimeout
	if timeout < 0 || s.owner == nil {
		return
	}
	s.after(timeout - (time.Since(clock) - s.since))
}

func (s *socket) after(d time.Duration) {
	d = max(d, 0)
	s.timed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.tick)
		return
	}
	s.timer.Reset(d)
}

// blockedChecks is how many times per turn timeout a handler is looked at that is
// in Send when its time is up: to see whether it waits there or just sends a lot.
const blockedChecks = 8

// tick passes the turn on if its holder has had it for too long.
func (s *socket) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timed = false
	if s.closing {
		if left := s.closeBy - time.Since(clock); left > 0 {
			s.after(left)
		} else if !s.connClosed {
			s.closeConn() // handlers take their time; the client need not wait for them
		}
		return
	}
	if s.owner == nil || s.config.TurnTimeout < 0 || !s.opened || s.queue.len() == 0 && !s.ended {
		return
	}
	if left := s.config.TurnTimeout - (time.Since(clock) - s.since); left > 0 {
		s.after(left)
		return
	}
	sent := s.owner.sent.Load()
	if s.owner.sends.Load() != sent && (s.blocked == 0 || s.blocked == sent+1) {
		s.blocked = sent + 1
		s.after(s.config.TurnTimeout / blockedChecks)
		return
	}
	call(s.config.Hooks.TurnTimedOut)
	s.owner = nil
	s.schedule()
	s.settle()
}
