package quota

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Quota counts what subjects do on this gateway, within what all gateways together
// allow. See [New].
type Quota struct {
	cfg  Config
	self string // in Redis
	made time.Time

	now  atomic.Int64  // since made, in ns: a clock that costs nothing to read
	wake chan struct{} // has a value when something is pending

	// owned by Run's exchange
	down    bool           // Redis did not answer last
	beats   int            // that Redis answered
	seen    map[string]int // gateways, and the last beat that had them
	greeted bool           // a beat has been answered

	mu       sync.Mutex
	subjects map[subjectID]*subject
	pending  []*subject
}

type subjectID struct {
	kind Kind
	name string
}

const (
	// tick is the resolution of the clock that the validity of leases is held
	// against.
	tick = 100 * time.Millisecond
	// leaseTime is how long leased tokens may be spent. What a gateway has not spent
	// by then is forfeited, so that none can be hoarded.
	leaseTime = 5 * time.Second
	// minDry is how long a subject that is at its limit is refused without asking
	// Redis again.
	minDry = 50 * time.Millisecond
	// maxDry is the same at most: what one large message must wait for does not hold up
	// the small ones of others who share an address or a user for longer.
	maxDry = time.Second
	// beatEvery and beatTTL say how a gateway shows that it lives.
	beatEvery = time.Second
	beatTTL   = 3 * time.Second
	// deadBeats is how many beats must have missed a gateway before its connections
	// are taken back.
	deadBeats = 2
	// connectionsTTL is how long Redis remembers the connections of a subject that
	// no gateway touches; each does so within a third of that time.
	connectionsTTL = 15 * time.Minute
)

// New makes a Quota. It starts nothing and does not talk to Redis.
func New(cfg Config) (*Quota, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Quota{
		cfg:      cfg,
		self:     cfg.Self.String(),
		made:     time.Now(),
		wake:     make(chan struct{}, 1),
		seen:     make(map[string]int),
		subjects: make(map[subjectID]*subject),
	}, nil
}

// Excess says what was too much.
type Excess struct {
	Kind  Kind
	Limit Limit
	// RetryAfter is when it may be worth trying again.
	RetryAfter time.Duration
}

// Limit names a limit of [Limits].
type Limit string

// The limits.
const (
	Connections    Limit = "connections"
	ConnectionRate Limit = "connection_rate"
	MessageRate    Limit = "message_rate"
	ByteRate       Limit = "byte_rate"
)

func (q *Quota) limits(k Kind) *Limits {
	if k == User {
		return &q.cfg.User
	}
	return &q.cfg.Address
}

// Connect counts one more connection of a subject: an address as AddressName gives
// it, or a user. It asks Redis, and waits for that Config.CallTimeout at most, plus
// what others have asked for before. The connection must be closed, unless an Excess
// says that it may not be. It returns nil and nil if nothing is limited. If ctx ends,
// that is an Excess of connections.
func (q *Quota) Connect(ctx context.Context, k Kind, name string) (*Connection, *Excess) {
	limits := q.limits(k)
	if limits.none() {
		return nil, nil
	}
	s := q.join(subjectID{k, name}, limits)
	if s == nil {
		q.cfg.Hooks.Untracked()
		return nil, nil
	}
	excess := s.admit(ctx)
	if excess != nil {
		q.leave(s)
		return nil, excess
	}
	return &Connection{s}, nil
}

// join finds a subject, or takes it up. It returns nil if there are too many.
func (q *Quota) join(id subjectID, limits *Limits) *subject {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.subjects[id]
	if s == nil {
		if len(q.subjects) >= q.cfg.MaxSubjects && !q.evict() {
			return nil
		}
		s = newSubject(q, id, limits)
		q.subjects[id] = s
	}
	s.users++
	return s
}

// evict forgets a subject that nobody uses, if a few tries find one. mu is held.
func (q *Quota) evict() bool {
	tries := 0
	for id, s := range q.subjects {
		if s.users == 0 && !s.queued {
			delete(q.subjects, id)
			return true
		}
		if tries++; tries == evictTries {
			return false
		}
	}
	return false
}

const evictTries = 32

// leave undoes join.
func (q *Quota) leave(s *subject) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.users--
}

// enqueue has a subject renewed by the next exchange.
func (q *Quota) enqueue(s *subject) {
	q.mu.Lock()
	if !s.queued {
		s.queued = true
		q.pending = append(q.pending, s)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Fits reports whether a message of that many bytes can ever pass: no burst is
// smaller.
func (q *Quota) Fits(bytes int) bool {
	for _, l := range []Limits{q.cfg.Address, q.cfg.User} {
		if l.ByteRate.Limited() && l.ByteRate.Size() < float64(bytes) {
			return false
		}
	}
	return true
}

// Subjects returns how many addresses and users are counted.
func (q *Quota) Subjects() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.subjects)
}

// clock is the time of buckets and leases.
func (q *Quota) clock() time.Duration { return time.Since(q.made) }
