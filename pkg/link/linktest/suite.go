package linktest

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// patience is how long the suite waits for something before the test fails.
const patience = 20 * time.Second

// Harness gives the suite the buses to test.
type Harness struct {
	// New returns a running bus that the test's end stops. All buses of one
	// Harness reach each other.
	New func(t *testing.T) link.Bus
	// Interrupt breaks the subscriptions of a bus, so that datagrams may be lost,
	// and lets them come back by themselves. Nil skips the tests that need it.
	Interrupt func(b link.Bus)
}

// Run tests a bus, and meshes on it.
func Run(t *testing.T, h Harness) {
	t.Run("Delivery", h.testDelivery)
	t.Run("Order", h.testOrder)
	t.Run("Pull", h.testPull)
	t.Run("ManySources", h.testManySources)
	t.Run("Nobody", h.testNobody)
	t.Run("Largest", h.testLargest)
	t.Run("Close", h.testClose)
	t.Run("MeshExchange", h.testMeshExchange)
	t.Run("MeshBackpressure", h.testMeshBackpressure)
	t.Run("MeshRestart", h.testMeshRestart)
	if h.Interrupt != nil {
		t.Run("Resubscription", h.testResubscription)
		t.Run("MeshInterrupted", h.testMeshInterrupted)
	}
}

// newNode returns a node id that no other test uses.
func newNode(prefix string) wire.NodeID {
	return wire.NodeID(prefix + "-" + strings.ToLower(rand.Text()[:10]))
}

// inbox keeps what a subscription delivers.
type inbox struct {
	mu        sync.Mutex
	datagrams [][]byte
	gaps      int
	early     bool // a datagram came before the first gap
	busy      bool
	overlap   bool
	changed   chan struct{}
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{}, 1)} }

func (i *inbox) enter() {
	i.mu.Lock()
	i.overlap = i.overlap || i.busy
	i.busy = true
	i.mu.Unlock()
}

func (i *inbox) leave(f func()) {
	i.mu.Lock()
	f()
	i.busy = false
	i.mu.Unlock()
	signal(i.changed)
}

func (i *inbox) Datagram(b []byte) {
	i.enter()
	i.leave(func() {
		i.early = i.early || i.gaps == 0
		i.datagrams = append(i.datagrams, b)
	})
}

func (i *inbox) Gap() {
	i.enter()
	i.leave(func() { i.gaps++ })
}

// wait blocks until ok holds for the inbox.
func (i *inbox) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		i.mu.Lock()
		done := ok()
		i.mu.Unlock()
		if done {
			return
		}
		select {
		case <-i.changed:
		case <-deadline:
			t.Fatalf("after %v: no %s", patience, what)
		}
	}
}

func subscribe(t *testing.T, b link.Bus, channel string) (*inbox, link.Subscription) {
	t.Helper()
	in := newInbox()
	sub, err := b.Subscribe(channel, in)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	t.Cleanup(sub.Close)
	waitFor(t, "confirmation of the subscription", sub.Ready())
	return in, sub
}

func waitFor(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("after %v: no %s", patience, what)
	}
}

// script is a source with a fixed list of datagrams; it checks how it is called.
type script struct {
	t       *testing.T
	channel string

	mu       sync.Mutex
	todo     [][]byte
	open     bool // Next returned a datagram, and Published has not been called
	asleep   bool // the last Next returned more == false
	idle     int  // calls of Next that had nothing to give
	outcomes []int64
	errors   []error
	changed  chan struct{}
}

func newScript(t *testing.T, channel string, datagrams ...[]byte) *script {
	return &script{t: t, channel: channel, todo: datagrams, asleep: true, changed: make(chan struct{}, 1)}
}

func (s *script) Destination() string { return s.channel }

func (s *script) Next(buf []byte) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		s.t.Error("Next was called before Published")
	}
	if len(s.todo) == 0 {
		s.idle++
		s.asleep = true
		return buf, false
	}
	buf = append(buf, s.todo[0]...)
	s.todo = s.todo[1:]
	s.open = true
	s.asleep = len(s.todo) == 0
	return buf, !s.asleep
}

func (s *script) Published(receivers int64, err error) {
	s.mu.Lock()
	if !s.open {
		s.t.Error("Published was called without a datagram")
	}
	s.open = false
	s.outcomes = append(s.outcomes, receivers)
	s.errors = append(s.errors, err)
	s.mu.Unlock()
	signal(s.changed)
}

// wait blocks until n outcomes are known.
func (s *script) wait(n int) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		done := len(s.outcomes) >= n
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.changed:
		case <-deadline:
			s.t.Fatalf("after %v: %d of %d datagrams were published", patience, len(s.outcomes), n)
		}
	}
}

// numbered returns n datagrams of a size, which start with their number.
func numbered(n, size int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = binary.BigEndian.AppendUint32(nil, uint32(i))
		list[i] = append(list[i], bytes.Repeat([]byte{byte(i)}, size)...)
	}
	return list
}
