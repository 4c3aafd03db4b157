package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The channels of the ping-pong, and the largest datagram: as much as a batch of
// Boreas holds.
const (
	pingChannel = "bench:ping"
	pongChannel = "bench:pong"
	maxDatagram = 64 << 10
)

// peer is one end of the ping-pong: it receives datagrams of whole messages on one
// channel and publishes on the other, everything that has gathered meanwhile in
// one PUBLISH.
type peer struct {
	client *redis.Client
	in     *redis.PubSub
	to     string

	mu      sync.Mutex
	pending []byte // guarded by mu: messages to be published
	kick    chan struct{}
}

func newPeer(ctx context.Context, url, from, to string) (*peer, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opt.PoolSize, opt.MaxRetries = 1, -1
	p := &peer{client: redis.NewClient(opt), to: to, kick: make(chan struct{}, 1)}
	p.in = p.client.Subscribe(ctx, from)
	if _, err := p.in.Receive(ctx); err != nil { // the confirmation
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *peer) close() error { return errors.Join(p.in.Close(), p.client.Close()) }

// send has messages published soon.
func (p *peer) send(messages string) {
	p.mu.Lock()
	p.pending = append(p.pending, messages...)
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// publish publishes what send was given until ctx ends.
func (p *peer) publish(ctx context.Context) error {
	var taken []byte
	for {
		select {
		case <-p.kick:
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		taken, p.pending = p.pending, taken[:0]
		p.mu.Unlock()
		for rest := taken; len(rest) > 0; {
			n := min(len(rest), maxDatagram)
			if err := p.client.Publish(context.WithoutCancel(ctx), p.to, rest[:n]).Err(); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
}

// receive calls got with each datagram until ctx ends.
func (p *peer) receive(ctx context.Context, got func(datagram string) error) error {
	for {
		m, err := p.in.Receive(ctx)
		if err != nil {
			return err
		}
		if m, ok := m.(*redis.Message); ok {
			if err := got(m.Payload); err != nil {
				return err
			}
		}
	}
}

// servePong sends back every datagram that it receives.
func servePong(url string) error {
	ctx := context.Background()
	p, err := newPeer(ctx, url, pingChannel, pongChannel)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	failed := make(chan error, 2)
	go func() { failed <- p.publish(ctx) }()
	go func() {
		failed <- p.receive(ctx, func(d string) error { p.send(d); return nil })
	}()
	return errors.Join(<-failed, p.close())
}

// pinger counts and times the messages that come back.
type pinger struct {
	*peer
	now  atomic.Int32 // phase
	done atomic.Int64

	// owned by the goroutine that receives
	out       []byte
	sent      []time.Time // when message i went out, at i modulo their number
	next      int
	expect    int
	latencies []time.Duration
}

// errAllBack ends a pinger: nothing is under way any more.
var errAllBack = errors.New("every message came back")

// pingPong measures inFlight messages bouncing between this process and pong.
func pingPong(ctx context.Context, url string, procs []process, inFlight int, warmup, duration time.Duration) (sample, error) {
	peer, err := newPeer(ctx, url, pongChannel, pingChannel)
	if err != nil {
		return sample{}, err
	}
	p := &pinger{peer: peer, sent: make([]time.Time, inFlight)}
	p.serve(inFlight)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	received, failed := make(chan error, 1), make(chan error, 1)
	var publishing sync.WaitGroup
	go func() { received <- p.receive(ctx, p.datagram) }()
	publishing.Go(func() {
		if err := p.publish(ctx); err != nil {
			failed <- err
		}
	})

	t := &target{name: namePingPong, procs: procs}
	counter := &client{}
	var m meter
	read := func(next phase) error {
		counter.done.Store(p.done.Load())
		return m.read(t, []*client{counter}, &p.now, next)
	}
	err = errors.Join(wait(ctx, warmup, failed), read(phaseMeasure), wait(ctx, duration, failed), read(phaseEnd))
	if e := wait(ctx, ioTimeout, received); !errors.Is(e, errAllBack) {
		err = errors.Join(err, e, errors.New("messages of the ping-pong are missing"))
	}
	cancel()
	publishing.Wait()
	if err = errors.Join(err, p.close()); err != nil {
		return sample{}, err
	}
	counter.latencies = p.latencies
	return m.sample(t, []*client{counter}), nil
}

// serve sends the next n messages.
func (p *pinger) serve(n int) {
	p.out = p.out[:0]
	now := time.Now()
	for range n {
		p.sent[p.next%len(p.sent)] = now
		at := len(p.out) + idAt
		p.out = append(p.out, message...)
		putID(p.out[at:at+idDigits], p.next)
		p.next++
	}
	p.send(string(p.out))
}

// datagram takes the messages that came back and sends as many again.
func (p *pinger) datagram(d string) error {
	now := time.Now()
	record := phase(p.now.Load()) == phaseMeasure
	n := len(d) / len(message)
	for i := range n {
		id, err := strconv.Atoi(d[i*len(message)+idAt : i*len(message)+idAt+idDigits])
		if err != nil || id != p.expect {
			return fmt.Errorf("message %d came in place of %d: %w", id, p.expect, err)
		}
		p.expect++
		if record {
			p.latencies = append(p.latencies, now.Sub(p.sent[id%len(p.sent)]))
		}
	}
	p.done.Add(int64(n))
	if phase(p.now.Load()) != phaseEnd {
		p.serve(n)
	} else if p.expect == p.next {
		return errAllBack
	}
	return nil
}
