package linktest

import (
	"errors"
	"slices"
	"sync"

	"github.com/boreas-ws/boreas/pkg/link"
)

// subscription delivers one channel to one receiver.
type subscription struct {
	bus     *Bus
	channel string
	to      link.Receiver
	ready   chan struct{}
	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex
	waiting []delivery
	bytes   int
	late    []byte // to be delivered after the next datagram
}

// delivery is a datagram, or, when data is nil, a gap.
type delivery struct{ data []byte }

// Subscribe starts the delivery of a channel.
func (b *Bus) Subscribe(channel string, r link.Receiver) (link.Subscription, error) {
	if r == nil {
		return nil, errors.New("linktest: no receiver")
	}
	s := &subscription{
		bus: b, channel: channel, to: r,
		ready: make(chan struct{}), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	b.mu.Lock()
	b.subs = append(b.subs, s)
	b.mu.Unlock()
	b.network.connect(s)
	close(s.ready)
	go s.run()
	return s, nil
}

// Disconnect makes the bus deaf: its subscriptions miss everything until Connect.
func (b *Bus) Disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subs {
		b.network.disconnect(s)
	}
}

// Connect undoes Disconnect; receivers are told of the gap.
func (b *Bus) Connect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subs {
		b.network.connect(s)
	}
}

// connect announces the gap before anything can be published to s.
func (n *Network) connect(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.gap()
	if subs := n.channels[s.channel]; !slices.Contains(subs, s) {
		n.channels[s.channel] = append(subs, s)
	}
}

func (n *Network) disconnect(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := slices.DeleteFunc(n.channels[s.channel], func(o *subscription) bool { return o == s })
	if n.channels[s.channel] = left; len(left) == 0 {
		delete(n.channels, s.channel)
	}
}

func (s *subscription) gap() {
	s.mu.Lock()
	s.waiting = append(s.waiting, delivery{})
	s.mu.Unlock()
	signal(s.wake)
}

// queue adds a datagram; late has it overtaken by the next one.
func (s *subscription) queue(data []byte, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(data) > maxQueue {
		return
	}
	if late && s.late == nil {
		s.late = data
		return
	}
	s.add(data)
	if s.late != nil {
		s.add(s.late)
		s.late = nil
	}
	signal(s.wake)
}

func (s *subscription) add(data []byte) {
	s.waiting = append(s.waiting, delivery{data})
	s.bytes += len(data)
}

func (s *subscription) run() {
	defer close(s.stopped)
	var batch []delivery
	for {
		s.mu.Lock()
		batch, s.waiting = s.waiting, batch[:0]
		s.bytes = 0
		s.mu.Unlock()
		for _, d := range batch {
			select {
			case <-s.stop:
				return
			default:
			}
			if d.data == nil {
				s.to.Gap()
			} else {
				s.to.Datagram(d.data)
			}
		}
		if len(batch) > 0 {
			clear(batch)
			continue
		}
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
	}
}

// Ready is closed from the start.
func (s *subscription) Ready() <-chan struct{} { return s.ready }

// Close ends the delivery and waits for the call under way.
func (s *subscription) Close() {
	s.bus.mu.Lock()
	s.bus.subs = slices.DeleteFunc(s.bus.subs, func(o *subscription) bool { return o == s })
	s.bus.mu.Unlock()
	s.bus.network.disconnect(s)
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.stopped
}
