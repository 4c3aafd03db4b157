package registry

import (
	"errors"
	"fmt"
	"slices"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// errUnpinned is what a Pin gets whose socket was unpinned meanwhile.
var errUnpinned = errors.New("the socket was unpinned meanwhile")

// pinSet is what one node knows and wants of its pins in one service. It is pure:
// no goroutine, clock or I/O. Its owner takes batches of operations, runs them in
// Redis, and reports what came of them with settle or unknown, one batch at a time.
//
// For every socket it holds what Redis has (settled) and, while that differs from
// what is wanted, or nobody knows what Redis has, one pending entry. So its size is
// bounded by the sockets that are pinned or waiting, however long Redis is down.
type pinSet struct {
	settled map[wire.SocketID]wire.Incarnation // what Redis has, as of the last answer
	sum     int64                              // over settled
	pending map[wire.SocketID]*pending
	fresh   []*pending // to be sent, in order of arrival
	retry   []*pending // sent with unknown outcome: go first, so that they stay few
	waiting int        // entries that callers wait for
}

// pending is a socket whose pin is not as wanted yet.
type pending struct {
	socket  wire.SocketID
	want    bool // to be pinned
	release bool // what is pinned now goes first
	flying  bool // in the batch that is out
	maybe   bool // a batch of unknown outcome may have pinned it
	gone    bool // nothing to do any more: skip it
	waiters []*waiter
}

// waiter is one call of Pin.
type waiter struct {
	done chan pinResult // capacity 1
}

type pinResult struct {
	instance wire.Incarnation
	err      error
}

func newWaiter() *waiter { return &waiter{done: make(chan pinResult, 1)} }

func newPinSet() *pinSet {
	return &pinSet{settled: map[wire.SocketID]wire.Incarnation{}, pending: map[wire.SocketID]*pending{}}
}

// operation is one line of the script pins.lua.
type operation struct {
	code  string
	entry *pending
	at    wire.Incarnation // set by who ran it: what the socket is pinned to now, or zero
}

const (
	opPin   = "+"
	opUnpin = "-"
	opRepin = "="
)

// pin asks for a pin of socket. If there is one, w is answered at once. It reports
// whether there is something to send.
func (s *pinSet) pin(socket wire.SocketID, w *waiter, limit int) bool {
	e := s.pending[socket]
	if e == nil {
		if at, ok := s.settled[socket]; ok {
			w.done <- pinResult{instance: at}
			return false
		}
		e = s.add(socket)
	}
	if len(e.waiters) == 0 {
		if s.waiting >= limit {
			s.forgetIfIdle(e)
			w.done <- pinResult{err: fmt.Errorf("%w: %d sockets wait for a pin already", ErrUnavailable, limit)}
			return false
		}
		s.waiting++
	}
	e.waiters = append(e.waiters, w)
	if !e.want {
		e.want = true
		_, e.release = s.settled[socket]
	}
	return true
}

// unpin asks for no pin of socket. It reports whether there is something to send.
func (s *pinSet) unpin(socket wire.SocketID) bool {
	e := s.pending[socket]
	if e == nil {
		if _, ok := s.settled[socket]; !ok {
			return false
		}
		s.add(socket)
		return true
	}
	s.answer(e, pinResult{err: errUnpinned})
	e.want = false
	s.forgetIfIdle(e)
	return !e.gone
}

// abandon is unpin for a Pin whose caller gives up, unless others wait for the
// same pin or the answer is there already.
func (s *pinSet) abandon(socket wire.SocketID, w *waiter) {
	e := s.pending[socket]
	if e == nil {
		return
	}
	for n, have := range e.waiters {
		if have != w {
			continue
		}
		if len(e.waiters) == 1 {
			s.unpin(socket)
		} else {
			e.waiters = append(e.waiters[:n], e.waiters[n+1:]...)
		}
		return
	}
}

func (s *pinSet) add(socket wire.SocketID) *pending {
	if len(s.fresh) > 2*len(s.pending)+64 { // Redis is down, and callers come and give up
		s.fresh = slices.DeleteFunc(s.fresh, func(e *pending) bool { return e.gone })
	}
	e := &pending{socket: socket}
	s.pending[socket] = e
	s.fresh = append(s.fresh, e)
	return e
}

// forgetIfIdle drops an entry that wants no pin where none can be.
func (s *pinSet) forgetIfIdle(e *pending) {
	_, pinned := s.settled[e.socket]
	if e.want || pinned || e.flying || e.maybe {
		return
	}
	e.gone = true
	delete(s.pending, e.socket)
}

// answer tells those who wait for e.
func (s *pinSet) answer(e *pending, res pinResult) {
	if len(e.waiters) > 0 {
		s.waiting--
	}
	for _, w := range e.waiters {
		w.done <- res
	}
	e.waiters = nil
}

// take returns up to limit operations to run next. While the outcome of earlier
// ones is unknown it returns only as many more as fit in one batch with them.
func (s *pinSet) take(limit int, batch []operation) []operation {
	batch = s.takeFrom(&s.retry, limit, batch)
	return s.takeFrom(&s.fresh, limit, batch)
}

func (s *pinSet) takeFrom(queue *[]*pending, limit int, batch []operation) []operation {
	q := *queue
	n := 0
	for ; n < len(q) && len(batch) < limit; n++ {
		e := q[n]
		q[n] = nil
		if e.gone {
			continue
		}
		code := opUnpin
		switch {
		case e.want && e.release:
			code = opRepin
		case e.want:
			code = opPin
		}
		e.flying = true
		batch = append(batch, operation{code: code, entry: e})
	}
	*queue = q[n:]
	if n == len(q) {
		*queue = nil // let the array go
	}
	return batch
}

// settle says that the batch ran, and what it did.
func (s *pinSet) settle(batch []operation) {
	for _, op := range batch {
		e, at := op.entry, op.at
		e.flying, e.maybe = false, false
		s.set(e.socket, at)
		if e.want && op.code == opUnpin || !e.want && !at.IsZero() {
			s.fresh = append(s.fresh, e) // something else is wanted since it was sent
			continue
		}
		res := pinResult{instance: at}
		if at.IsZero() {
			res.err = ErrNoInstance
		}
		s.answer(e, res)
		delete(s.pending, e.socket)
	}
}

// unknown says that nobody knows which operations of the batch ran.
func (s *pinSet) unknown(batch []operation) {
	for _, op := range batch {
		e := op.entry
		e.flying, e.maybe = false, true
		s.retry = append(s.retry, e)
	}
}

// doubtful reports whether the outcome of some operation is unknown, so that
// settled may not be what Redis has.
func (s *pinSet) doubtful() bool { return len(s.retry) > 0 }

// set records what Redis has for socket.
func (s *pinSet) set(socket wire.SocketID, at wire.Incarnation) {
	if old, ok := s.settled[socket]; ok {
		if old == at {
			return
		}
		s.sum -= pinSum(socket, old)
		delete(s.settled, socket)
	}
	if !at.IsZero() {
		s.settled[socket] = at
		s.sum += pinSum(socket, at)
	}
}

// restart prepares for a new generation, which starts without pins, so that nothing
// is in doubt. The caller writes settled to Redis before it takes the next batch.
func (s *pinSet) restart() {
	s.fresh = append(s.retry, s.fresh...)
	s.retry = nil
	for _, e := range s.pending {
		e.maybe = false
	}
}

// fail answers everybody who waits and forgets everything.
func (s *pinSet) fail(err error) {
	for _, e := range s.pending {
		s.answer(e, pinResult{err: err})
		e.gone = true
	}
	*s = *newPinSet()
}
