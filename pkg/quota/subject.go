package quota

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lease is what a gateway may still do of one rate.
type lease struct {
	limit Limit
	rate  Rate
	left  atomic.Int64
	low   atomic.Int64 // below that, more is asked for ahead of time
	dry   atomic.Int64 // until when there is nothing, on Quota.now; 0 if there may be
	empty atomic.Int64 // when all gateways together had nothing left, by what Redis last said, on Quota.now
	size  int64        // left after the last grant; guarded by subject.mu
	least int64        // what one that waits needs; guarded by subject.mu
}

// wait is how long it takes at least until n can be taken.
func (l *lease) wait(n int64, now time.Duration) time.Duration {
	enough := time.Duration(l.empty.Load()) + l.rate.earns(float64(n-l.left.Load()))
	return max(enough, time.Duration(l.dry.Load()), now+minDry) - now
}

// take takes n. It reports whether the lease should be renewed soon, and whether
// there was enough.
func (l *lease) take(n int64) (low, ok bool) {
	if !l.rate.Limited() {
		return false, true
	}
	left := l.left.Add(-n)
	if left < 0 {
		l.left.Add(n)
		return true, false
	}
	return left < l.low.Load(), true
}

// give returns n.
func (l *lease) give(n int64) {
	if l.rate.Limited() {
		l.left.Add(n)
	}
}

const (
	// A gateway leases a burst's firstShare-th part at least and its topShare-th at
	// most.
	firstShare = 64
	topShare   = 4
)

// subject is an address or a user.
type subject struct {
	q      *Quota
	id     subjectID
	key    string
	limits *Limits

	expires         atomic.Int64 // until when leases may be spent, on Quota.now
	asked           atomic.Bool  // a renewal is on its way
	messages, bytes lease

	// guarded by q.mu
	users  int  // of this object
	queued bool // in q.pending

	mu       sync.Mutex
	open     int            // connections
	waiting  []chan *Excess // handshakes, each with room for its answer
	answered chan struct{}  // closed by the answer to the next ask; nil if nobody waits
	renewed  time.Duration  // when the leases were
	touched  time.Duration  // when Redis was last told of connections
	refused  *Excess        // what handshakes are told without asking
	until    time.Duration  // for how long
	local    [3]Bucket      // while Redis is away
}

func newSubject(q *Quota, id subjectID, limits *Limits) *subject {
	s := &subject{q: q, id: id, key: q.subjectKey(id.kind, id.name), limits: limits}
	s.messages.limit, s.messages.rate = MessageRate, limits.MessageRate
	s.bytes.limit, s.bytes.rate = ByteRate, limits.ByteRate
	return s
}

// admit waits for leave to open one more connection.
func (s *subject) admit(ctx context.Context) *Excess {
	answer := make(chan *Excess, 1)
	s.mu.Lock()
	if now := s.q.clock(); s.refused != nil && now < s.until {
		again := *s.refused
		again.RetryAfter = max(again.RetryAfter, s.until-now)
		s.mu.Unlock()
		return &again
	}
	s.waiting = append(s.waiting, answer)
	s.mu.Unlock()
	s.q.enqueue(s)
	select {
	case excess := <-answer:
		return excess
	case <-ctx.Done():
	}
	s.mu.Lock()
	unused := false
	select {
	case excess := <-answer: // meanwhile
		if unused = excess == nil; unused {
			s.open--
		}
	default:
		s.waiting = slices.DeleteFunc(s.waiting, func(w chan *Excess) bool { return w == answer })
	}
	s.mu.Unlock()
	if unused {
		s.q.enqueue(s)
	}
	return &Excess{Kind: s.id.kind, Limit: Connections, RetryAfter: time.Second}
}

// Connection is one connection of a subject. A nil one is not limited.
type Connection struct{ s *subject }

// Close counts the connection out. It is called once.
func (c *Connection) Close() {
	if c == nil {
		return
	}
	s := c.s
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	s.q.enqueue(s)
	s.q.leave(s)
}

// Take counts a message of so many bytes, or says why it is too much. It makes no
// call to Redis, takes no lock and allocates nothing while the lease of this gateway
// lasts. When that is used up, it waits for the renewal that is on its way, until
// done is closed.
func (c *Connection) Take(done <-chan struct{}, bytes int) *Excess {
	if c == nil {
		return nil
	}
	s := c.s
	var short *lease
	for range maxRenewals {
		if s.q.now.Load() < s.expires.Load() {
			if short = s.take(int64(bytes)); short == nil {
				return nil
			}
			if s.dry(short) {
				break
			}
		}
		if !s.renewal(done, int64(bytes)) {
			return nil // the connection ends: nobody will be told
		}
	}
	excess := &Excess{Kind: s.id.kind, Limit: MessageRate, RetryAfter: minDry}
	if short != nil {
		n := int64(bytes)
		if short == &s.messages {
			n = 1
		}
		excess.Limit, excess.RetryAfter = short.limit, short.wait(n, s.q.clock())
	}
	return excess
}

// maxRenewals is how many renewals one message may wait for: others of the subject
// may spend what is granted.
const maxRenewals = 3

// take spends what is leased. It returns the lease that has not enough, if one has
// not; then nothing is spent.
func (s *subject) take(bytes int64) (short *lease) {
	lowMessages, ok := s.messages.take(1)
	if !ok {
		return &s.messages
	}
	lowBytes, ok := s.bytes.take(bytes)
	if !ok {
		s.messages.give(1)
		return &s.bytes
	}
	if (lowMessages || lowBytes) && s.messages.dry.Load() == 0 && s.bytes.dry.Load() == 0 && s.asked.CompareAndSwap(false, true) {
		s.q.enqueue(s)
	}
	return nil
}

// dry reports whether there is no use in asking for more now.
func (s *subject) dry(l *lease) bool {
	until := l.dry.Load()
	if until == 0 {
		return false
	}
	if s.q.clock() < time.Duration(until) {
		return true
	}
	l.dry.CompareAndSwap(until, 0)
	return false
}

// renewal asks for a renewal and waits for it. It returns false if done was closed
// before.
func (s *subject) renewal(done <-chan struct{}, bytes int64) bool {
	s.mu.Lock()
	if s.answered == nil {
		s.answered = make(chan struct{})
	}
	answered := s.answered
	s.bytes.least = max(s.bytes.least, bytes)
	s.mu.Unlock()
	s.asked.Store(true)
	s.q.enqueue(s)
	select {
	case <-answered:
		return true
	case <-done:
		return false
	}
}
