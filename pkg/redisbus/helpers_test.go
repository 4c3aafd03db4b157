package redisbus

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long the tests wait for what must happen.
const limit = 30 * time.Second

// eventually waits until cond is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

func wait(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(limit):
		t.Fatalf("after %v still not: %s", limit, what)
	}
}

func parse(t testing.TB, url string) *Topology {
	t.Helper()
	top, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// quick is a configuration whose watchdog needs no patience.
func quick(t testing.TB, url string) Config {
	return Config{
		Topology: parse(t, url), Node: "n1", Logger: testLogger(t),
		PingEvery: 50 * time.Millisecond, SilenceLimit: 250 * time.Millisecond, CanaryEvery: 20 * time.Millisecond,
	}
}

// calm is a configuration that takes no stall of a busy machine for an outage, for
// tests in which nothing may be lost.
func calm(t testing.TB, url string) Config {
	return Config{
		Topology: parse(t, url), Node: "n1", Logger: testLogger(t),
		SilenceLimit: time.Minute, CanaryEvery: 20 * time.Millisecond,
	}
}

// start runs a bus until the test ends.
func start(t testing.TB, cfg Config) *Bus {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	return b
}

func run(t testing.TB, b *Bus) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(limit):
			t.Error("Run does not end")
		}
	})
}

// inbox is a receiver that keeps what it got.
type inbox struct {
	mu   sync.Mutex
	got  []string
	gaps int
}

func (i *inbox) Datagram(b []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, string(b))
}

func (i *inbox) Gap() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gaps++
}

func (i *inbox) gapCount() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gaps
}

func (i *inbox) all() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.got...)
}

// outbox is a source with a queue. It checks that the bus keeps its promises.
type outbox struct {
	t   testing.TB
	bus *Bus
	ch  string

	mu       sync.Mutex
	queue    []string
	out      bool // between Next and Published
	outcomes []int64
	errs     int
	retry    bool // queue again what failed
	last     string
}

func newOutbox(t testing.TB, b *Bus, ch string) *outbox { return &outbox{t: t, bus: b, ch: ch} }

func (o *outbox) send(ds ...string) {
	o.mu.Lock()
	o.queue = append(o.queue, ds...)
	o.mu.Unlock()
	o.bus.Ready(o)
}

func (o *outbox) Destination() string { return o.ch }

func (o *outbox) Next(buf []byte) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.out {
		o.t.Error("Next was called twice without Published")
	}
	if len(o.queue) == 0 {
		return buf, false
	}
	o.out = true
	o.last = o.queue[0]
	o.queue = o.queue[1:]
	return append(buf, o.last...), len(o.queue) > 0
}

func (o *outbox) Published(receivers int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.out {
		o.t.Error("Published was called without a datagram")
	}
	o.out = false
	o.outcomes = append(o.outcomes, receivers)
	if err == nil {
		return
	}
	o.errs++
	if receivers >= 0 {
		o.t.Errorf("Published(%d, %v): the outcome is unknown", receivers, err)
	}
	if o.retry {
		o.queue = append([]string{o.last}, o.queue...)
		defer o.bus.Ready(o)
	}
}

func (o *outbox) done() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]int64(nil), o.outcomes...)
}

// subscribe returns a confirmed inbox of a node.
func subscribe(t testing.TB, b *Bus, channel string) (*inbox, link.Subscription) {
	t.Helper()
	in := new(inbox)
	sub, err := b.Subscribe(channel, in)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "subscribed", sub.Ready())
	return in, sub
}

func server(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.Start(t, redistest.Config{})
}

// testLogger writes to the test's log.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
