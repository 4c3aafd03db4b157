package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
	"github.com/boreas-ws/boreas/test/cluster"
)

const (
	floodSockets  = 16
	floodMessages = 300
	floodBytes    = 8 << 10 // of a message
)

// flooder numbers messages to /seq as fast as it gets rid of them.
type flooder struct {
	*client
	written atomic.Int64 // messages
	failed  chan error   // has one value when it has written all, and one when it has read all
}

func startFlooder(t *testing.T, g *cluster.Gateway) *flooder {
	t.Helper()
	f := &flooder{client: dial(t, g.URL(), nil), failed: make(chan error, 2)}
	f.whoami() // pinned, before Redis is away
	if err := f.ws.NetConn().(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	return f
}

// flood starts writing and reading.
func (f *flooder) flood() {
	fill := strings.Repeat("x", floodBytes)
	go func() {
		for n := 1; n <= floodMessages; n++ {
			if err := f.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/seq","id":"%d","data":{"n":%d,"fill":%q}}`, n, n, fill)); err != nil {
				f.failed <- fmt.Errorf("write message %d: %w", n, err)
				return
			}
			f.written.Add(1)
		}
		f.failed <- nil
	}()
	go func() { f.failed <- f.answers() }()
}

// answers reads those to all messages, and the messages that nobody asked for after
// each third one: each has to come once and in order.
func (f *flooder) answers() error {
	sent := 0
	for n := 1; n <= floodMessages; n++ {
		for _, want := range []int{n, 0}[:1+(3-n%3)/3] {
			a, err := f.tryRead(4 * patience)
			if err != nil {
				return fmt.Errorf("answer %d: %w", n, err)
			}
			var got struct{ N, S int }
			if err := json.Unmarshal(a.Data, &got); err != nil {
				return fmt.Errorf("answer %d: %s: %w", n, a.Data, err)
			}
			if sent++; got.N != want || got.S != sent {
				return fmt.Errorf("got %+v; want number %d, the %dth message", got, want, sent)
			}
		}
	}
	return nil
}

// TestOutageHoldsSendersBack: while Redis is away, a link takes what its window holds,
// and then the gateway reads no more from those clients. Afterwards everything arrives,
// once and in order, on the connections of before.
func TestOutageHoldsSendersBack(t *testing.T) {
	t.Run("it hangs", func(t *testing.T) {
		testOutage(t, (*system).hang)
	})
	t.Run("it dies", func(t *testing.T) {
		testOutage(t, (*system).kill)
	})
}

func (s *system) hang() (back func() error, err error) { return s.redis.Cont, s.redis.Stop() }
func (s *system) kill() (back func() error, err error) { return s.redis.Restart, s.redis.Kill() }

func testOutage(t *testing.T, begin func(*system) (end func() error, err error)) {
	s := startSystem(t, 1, 1)
	g := s.gateways[0]
	metric := func(name string) float64 {
		t.Helper()
		v, err := g.Metric(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var flooders []*flooder
	for range floodSockets {
		flooders = append(flooders, startFlooder(t, g))
	}
	bystander := dial(t, g.URL(), nil)
	before := metric("boreas_gateway_messages_received_total")

	end, err := begin(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flooders {
		f.flood()
	}
	eventually(t, patience, func() string { // what Redis may have of them is sent again
		if metric("boreas_bus_subscriptions_lost_total") == 0 {
			return "the gateway keeps its connection"
		}
		return ""
	})
	const calm = 25 // looks at a gateway that reads nothing
	last, looks, most := -1.0, 0, 0.0
	eventually(t, link.DefaultResetAfter, func() string {
		bystander.fails("/nowhere", nil, wire.CodeNoRoute) // others are read, and answered
		most = max(most, metric("boreas_link_in_flight_bytes"))
		waiting, read := metric("boreas_link_waiting_sends"), metric("boreas_gateway_messages_received_total")
		if looks++; read != last || waiting == 0 {
			last, looks = read, 0
		}
		if looks < calm {
			return fmt.Sprintf("%v senders wait, %v messages were read", waiting, read)
		}
		return ""
	})
	taken := int(last-before) * floodBytes
	written := 0
	for i, f := range flooders {
		n := int(f.written.Load())
		if written += n * floodBytes; n == floodMessages {
			t.Errorf("client %d could write all of its %d messages", i, n)
		}
	}
	t.Logf("%d KiB were written, of which the gateway took %d KiB; %.0f KiB are in flight", written>>10, taken>>10, most/1024)
	if taken > link.DefaultWindowBytes+floodSockets*floodBytes || most > link.DefaultWindowBytes+64<<10 {
		t.Errorf("the gateway took %d bytes, of which %.0f were in flight; the window has %d", taken, most, link.DefaultWindowBytes)
	}

	if err := end(); err != nil {
		t.Fatal(err)
	}
	for i, f := range flooders {
		for range cap(f.failed) {
			if err := <-f.failed; err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		}
	}
	for _, name := range []string{"boreas_link_resets_total", "boreas_gateway_sockets_closed_total"} {
		if n := metric(name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	for _, e := range s.probes[0].Seen() {
		if e.Event == "violation" {
			t.Errorf("the service saw %+v", e)
		}
	}
}
