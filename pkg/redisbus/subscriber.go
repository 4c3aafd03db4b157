package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/link"
)

// The reasons of the watchdog to end a session.
var (
	errSilent = errors.New("no sign of life from Redis, although it was pinged")
	errCanary = errors.New("what is published does not come back: the connections reach different servers, or publishing fails")
	// errMigrated says that a slot of the cluster went to another server.
	errMigrated = errors.New("the channel has moved to another server")
	// errSessionOver keeps go-redis from connecting again behind our back.
	errSessionOver = errors.New("the session is over")
)

// subscriber is the one reader from a Redis server. It lives through sessions; each
// has one connection, one reading goroutine, and a watchdog that ends it as soon as
// it may have missed something.
type subscriber struct {
	to    remote
	name  string // of the connection
	ping  time.Duration
	limit time.Duration
	log   *slog.Logger
	hooks Hooks

	stale  func(since time.Time) bool // whether the canary is overdue
	redial func()                     // replaces the publisher's connection
	lost   func()                     // called at the end of each session; may be nil

	changed chan struct{} // holds a token when channels has changed
	heard   atomic.Uint64 // replies and messages read

	mu       sync.RWMutex // guards channels
	channels map[string]*subscription
}

func newSubscriber(cfg Config, to remote) *subscriber {
	return &subscriber{
		to: to, name: "boreas-" + string(cfg.Node) + "-sub",
		ping: cfg.PingEvery, limit: cfg.SilenceLimit, log: cfg.Logger, hooks: cfg.Hooks,
		changed: make(chan struct{}, 1), channels: map[string]*subscription{},
	}
}

// subscription is a channel and its receiver. It implements [link.Subscription].
type subscription struct {
	sub     *subscriber
	channel string
	ready   chan struct{}

	mu       sync.Mutex    // held during calls of receiver
	receiver link.Receiver // nil once closed
	isReady  bool
}

func (s *subscriber) subscribe(channel string, r link.Receiver) (*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[channel] != nil {
		return nil, fmt.Errorf("redisbus: %q has a receiver already", channel)
	}
	sub := &subscription{sub: s, channel: channel, ready: make(chan struct{}), receiver: r}
	s.channels[channel] = sub
	s.change()
	return sub, nil
}

func (s *subscriber) change() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *subscriber) get(channel string) *subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.channels[channel]
}

// Ready implements [link.Subscription].
func (s *subscription) Ready() <-chan struct{} { return s.ready }

// Close implements [link.Subscription].
func (s *subscription) Close() {
	s.mu.Lock()
	s.receiver = nil
	s.mu.Unlock()

	s.sub.mu.Lock()
	defer s.sub.mu.Unlock()
	if s.sub.channels[s.channel] == s {
		delete(s.sub.channels, s.channel)
		s.sub.change()
	}
}

// confirmed tells the receiver that Redis took the subscription.
func (s *subscription) confirmed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receiver == nil {
		return
	}
	s.receiver.Gap()
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
}

func (s *subscription) deliver(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receiver != nil {
		// go-redis has read the payload into memory that nothing else refers to, so
		// the receiver gets that memory instead of a copy.
		s.receiver.Datagram(unsafe.Slice(unsafe.StringData(payload), len(payload)))
	}
}

// run keeps a session until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	var downAt time.Time // zero while subscribed
	for failures := 0; ; failures++ {
		err := s.session(ctx, func() {
			failures = 0
			if !downAt.IsZero() {
				s.log.Info("subscribed to Redis again", "redis", s.to, "after", time.Since(downAt))
				downAt = time.Time{}
			}
		})
		if ctx.Err() != nil {
			return
		}
		if s.lost != nil {
			s.lost()
		}
		if downAt.IsZero() {
			downAt = time.Now()
			s.log.Warn("the subscription to Redis is lost; retrying", "redis", s.to, "err", err)
		}
		if !backoff(ctx, failures) {
			return
		}
	}
}

// session connects, subscribes and delivers until something fails. It calls
// subscribed, from this goroutine, at the first confirmation.
func (s *subscriber) session(ctx context.Context, subscribed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := s.to.options(bound(ctx, once(s.to.dial)))
	o.ClientName = s.name
	o.PoolSize = 1
	o.ReadTimeout, o.WriteTimeout = s.limit, s.limit // reading messages has no timeout
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	w := watch{s: s, ps: client.Subscribe(ctx), started: time.Now(), asked: map[string]*subscription{}}
	defer func() { _ = w.ps.Close() }()
	if err := w.ask(ctx); err != nil {
		return err
	}

	confirmed := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() { ended <- s.read(ctx, w.ps, confirmed) }()
	err := w.run(ctx, confirmed, ended, subscribed)
	cancel() // closes the connection, so that read ends
	if !w.readEnded {
		<-ended
	}
	if w.subscribed && s.hooks.SubscriptionLost != nil {
		s.hooks.SubscriptionLost(loss(err))
	}
	return err
}

func loss(err error) Loss {
	switch {
	case errors.Is(err, errSilent):
		return LossSilent
	case errors.Is(err, errCanary):
		return LossCanary
	default:
		return LossError
	}
}

// once returns a dialer that connects one time: go-redis would otherwise reconnect
// by itself while it reports an error.
func once(dial dialer) dialer {
	var used atomic.Bool
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errSessionOver
		}
		return dial(ctx, network, addr)
	}
}

// read delivers what comes until reading fails. It puts a token into confirmed at
// each confirmation.
func (s *subscriber) read(ctx context.Context, ps *redis.PubSub, confirmed chan<- struct{}) error {
	for {
		m, err := ps.Receive(ctx)
		if err != nil {
			return err
		}
		s.heard.Add(1)
		switch m := m.(type) {
		case *redis.Message:
			if sub := s.get(m.Channel); sub != nil {
				sub.deliver(m.Payload)
			}
		case *redis.Subscription:
			sub := s.get(m.Channel)
			if sub == nil {
				continue // the answer to an unsubscribe, or too late
			}
			if m.Kind == "sunsubscribe" { // by the server, or by us before another subscribe
				return errMigrated
			}
			if m.Kind != "subscribe" && m.Kind != "ssubscribe" {
				continue
			}
			if s.hooks.Subscribed != nil {
				s.hooks.Subscribed()
			}
			sub.confirmed()
			select {
			case confirmed <- struct{}{}:
			default:
			}
		case *redis.Pong: // counted above
		}
	}
}
