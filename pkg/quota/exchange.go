package quota

import (
	"context"
	_ "embed" // the scripts
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/lease.lua
var leaseText string

//go:embed lua/beat.lua
var beatText string

var (
	leaseScript = redis.NewScript(leaseText)
	beatScript  = redis.NewScript(beatText)
)

// maxBatch is how many subjects one exchange with Redis is about.
const maxBatch = 128

// Run exchanges leases with Redis until ctx ends; then it gives back what it can and
// returns nil. Without it, nothing is admitted.
func (q *Quota) Run(ctx context.Context) error {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	q.beat(ctx)
	next := q.clock() + beatEvery
	for {
		select {
		case <-q.wake:
			q.flush(ctx)
		case <-clock.C:
			q.now.Store(int64(q.clock()))
			if q.clock() >= next {
				next = q.clock() + beatEvery
				q.beat(ctx)
				q.sweep()
			}
		case <-ctx.Done():
			last := context.WithoutCancel(ctx)
			q.flush(last)
			return nil
		}
	}
}

// flush renews all that is pending.
func (q *Quota) flush(ctx context.Context) {
	for {
		q.mu.Lock()
		n := min(len(q.pending), maxBatch)
		batch := q.pending[:n:n]
		if q.pending = q.pending[n:]; len(q.pending) == 0 {
			q.pending = nil
		}
		for _, s := range batch {
			s.queued = false
		}
		q.mu.Unlock()
		if n == 0 {
			return
		}
		q.now.Store(int64(q.clock()))
		q.renew(ctx, batch)
		q.forget(batch)
	}
}

// renew exchanges the leases of a batch: with Redis, or without it if that does not
// answer.
func (q *Quota) renew(ctx context.Context, batch []*subject) {
	asks := make([]ask, len(batch))
	for i, s := range batch {
		asks[i] = s.ask()
	}
	var replies [][]any
	var err error
	if !q.down {
		replies, err = q.call(ctx, asks)
		q.reachable(err)
	}
	for i, s := range batch {
		var a answer
		ok := false
		if replies != nil {
			a, ok = parseAnswer(replies[i])
		}
		if ok && a.connections < asks[i].waiting && len(a.owners) > 0 {
			a = q.reclaim(ctx, asks[i], a)
		}
		if !ok {
			a = s.localAnswer(asks[i])
		}
		s.apply(asks[i], a)
	}
}

// call runs the script for each ask, in one exchange.
func (q *Quota) call(ctx context.Context, asks []ask) ([][]any, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.CallTimeout)
	defer cancel()
	start := time.Now()
	replies := make([][]any, len(asks))
	first := error(nil)
	for try := range 2 {
		p := q.cfg.Client.Pipeline()
		commands := make([]*redis.Cmd, len(asks))
		for i, a := range asks {
			if replies[i] != nil {
				continue
			}
			if try == 0 {
				commands[i] = leaseScript.EvalSha(ctx, p, []string{a.s.key}, a.args(q.self)...)
			} else {
				commands[i] = leaseScript.Eval(ctx, p, []string{a.s.key}, a.args(q.self)...)
			}
		}
		_, _ = p.Exec(ctx) // every command has its own error
		unknown := false
		first = nil
		for i, c := range commands {
			if c == nil {
				continue
			}
			reply, err := c.Slice()
			switch {
			case err == nil:
				replies[i] = reply
			case redis.HasErrorPrefix(err, "NOSCRIPT"):
				unknown = true
			case first == nil:
				first = err
			}
		}
		if !unknown {
			break
		}
	}
	q.cfg.Hooks.Call(len(asks), time.Since(start), first)
	return replies, first
}

// reclaim takes back the connections of gateways that are dead, and asks again.
func (q *Quota) reclaim(ctx context.Context, a ask, have answer) answer {
	var dead []string
	for _, owner := range have.owners {
		if _, ok := q.seen[owner]; !ok {
			q.seen[owner] = q.beats // it has yet to miss a beat
		}
		if q.beats-q.seen[owner] >= deadBeats && owner != q.self {
			dead = append(dead, owner)
		}
	}
	if len(dead) == 0 {
		return have
	}
	a.open += have.connections
	a.waiting -= have.connections
	a.messages, a.bytes, a.dead = 0, 0, dead
	replies, err := q.call(ctx, []ask{a})
	if err != nil {
		return have
	}
	if more, ok := parseAnswer(replies[0]); ok {
		have.connections += more.connections
		have.waits[0] = more.waits[0]
	}
	return have
}

// beat shows that this gateway lives, and learns who else does.
func (q *Quota) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.CallTimeout)
	defer cancel()
	reply, err := beatScript.Run(ctx, q.cfg.Client, []string{q.gatewaysKey()}, q.self, beatTTL.Milliseconds()).Slice()
	was := q.down
	if q.reachable(err); err != nil {
		return
	}
	q.beats++
	for _, owner := range reply[1:] {
		q.seen[text(owner)] = q.beats
	}
	for owner, last := range q.seen {
		if q.beats-last > 1000 {
			delete(q.seen, owner)
		}
	}
	if unknown := number(reply[0]) == 1; was || unknown && q.greeted {
		q.tellAll() // Redis has lost what it knew, or did not learn it
	}
	q.greeted = true
}

// reachable notes whether Redis answers.
func (q *Quota) reachable(err error) {
	switch down := err != nil; {
	case down == q.down:
	case down:
		q.down = true
		q.cfg.Logger.Warn("redis does not answer; quotas count per gateway until it does", "error", err)
	default:
		q.down = false
		q.cfg.Logger.Info("redis answers again; quotas count for all gateways")
	}
}

// tellAll has Redis told of all connections.
func (q *Quota) tellAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.subjects {
		if !s.queued {
			s.queued = true
			q.pending = append(q.pending, s)
		}
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// forget drops subjects that nobody uses and of which nothing must be remembered.
func (q *Quota) forget(batch []*subject) {
	now := q.clock()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range batch {
		if s.users == 0 && !s.queued && s.settled(now) {
			delete(q.subjects, s.id)
		}
	}
}

// sweep drops idle subjects, and has Redis reminded of those with connections.
func (q *Quota) sweep() {
	now := q.clock()
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, s := range q.subjects {
		switch {
		case s.queued:
		case s.users == 0 && s.settled(now):
			delete(q.subjects, id)
		case s.stale(now):
			s.queued = true
			q.pending = append(q.pending, s)
		}
	}
	if len(q.pending) > 0 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// text reads a string in a reply.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// number reads a number in a reply.
func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
