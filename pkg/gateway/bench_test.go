package gateway

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// stubClient is a client without a network: it writes the same frame as often as
// it is told to, and takes whatever it is sent.
type stubClient struct {
	net.Conn // nil: what is not overridden must not be called
	frame    []byte
	rest     []byte
	left     atomic.Int64
	more     chan struct{}
	closed   chan struct{}
	gate     chan struct{} // if set, writes wait until it is closed

	writes, missing atomic.Int64  // missing: bytes until taken
	taken           chan struct{} // told when missing bytes were written
}

// newStubClient returns a client that sends msg, masked, as RFC 6455 demands.
func newStubClient(msg string) *stubClient {
	c := &stubClient{more: make(chan struct{}, 1), closed: make(chan struct{}), taken: make(chan struct{}, 1)}
	c.frame = []byte{final | byte(wire.Text), 0x80 | 126}
	c.frame = binary.BigEndian.AppendUint16(c.frame, uint16(len(msg)))
	c.frame = append(c.frame, 0, 0, 0, 0) // the mask that changes nothing
	c.frame = append(c.frame, msg...)
	return c
}

func (c *stubClient) send(n int) {
	c.left.Store(int64(n))
	c.more <- struct{}{}
}

func (c *stubClient) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(c.rest) == 0 {
			if c.left.Add(-1) < 0 {
				break
			}
			c.rest = c.frame
		}
		k := copy(p[n:], c.rest)
		n, c.rest = n+k, c.rest[k:]
	}
	if n > 0 {
		return n, nil
	}
	select {
	case <-c.more:
		return c.Read(p)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *stubClient) Write(p []byte) (int, error) {
	if c.gate != nil {
		<-c.gate
	}
	c.writes.Add(1)
	if n := int64(len(p)); c.missing.Add(-n) <= 0 && c.missing.Load() > -n {
		select {
		case c.taken <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func (c *stubClient) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

// SetDeadline ends the client: the gateway sets one when the connection closes.
func (c *stubClient) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		return c.Close()
	}
	return nil
}

func (*stubClient) SetReadDeadline(time.Time) error  { return nil }
func (*stubClient) SetWriteDeadline(time.Time) error { return nil }

func (c *stubClient) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// stubResponse lets a stubClient be hijacked.
type stubResponse struct {
	http.ResponseWriter
	*stubClient
}

func (r stubResponse) Write(p []byte) (int, error) { return r.ResponseWriter.Write(p) }

// connect does the handshake for the client.
func (c *stubClient) connect(g *Gateway) {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	g.ServeHTTP(stubResponse{httptest.NewRecorder(), c}, r)
}

// sink is an acceptor that counts messages and returns their credit.
type sink struct {
	stream  *backplane.Stream
	got     atomic.Int64
	want    atomic.Int64
	reached chan struct{}
	owed    int
	credit  chan int
}

func (s *sink) Frame(kind wire.Kind, body []byte) {
	switch kind {
	case wire.KindData:
		if s.owed += len(body) + wire.DataOverhead; s.owed > wire.DefaultWindow/2 {
			_ = s.stream.SendCredit(uint32(s.owed))
			s.owed = 0
		}
		if s.got.Add(1) == s.want.Load() {
			s.reached <- struct{}{}
		}
	case wire.KindCredit:
		if c, err := wire.ParseCredit(body); err == nil {
			s.credit <- int(c.Bytes)
		}
	case wire.KindClose:
		_ = s.stream.SendClosed()
		s.stream.Done()
	}
}

func (*sink) Reset(link.Reset) {}

// benchSetup connects a stubClient to a gateway whose service, on the same node, is
// a sink.
func benchSetup(b *testing.B) (*stubClient, *sink) {
	w := newWorld(b)
	gw := w.gateway(Config{})
	opened := make(chan *sink, 1)
	stop, err := gw.bp.Serve("a", func(s *backplane.Stream, _ wire.Open) backplane.StreamHandler {
		k := &sink{stream: s, reached: make(chan struct{}, 1), credit: make(chan int, 1000)}
		k.want.Store(1)
		opened <- k
		return k
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	s := registry.Service{Name: "a", Routes: []registry.Route{{Pattern: "/chat/message", Canonical: "/chat/message"}}}
	if err := gw.bp.Registry().Announce(w.context(), s); err != nil {
		b.Fatal(err)
	}
	gw.routed("/chat/message")
	c := newStubClient(fmt.Sprintf(`{"path":"/chat/message","id":"1234","data":{"text":%q}}`, benchText))
	c.connect(gw.Gateway)
	c.send(1)
	k := receive(w, "open", opened)
	receive(w, "data", k.reached)
	b.ReportAllocs()
	b.SetBytes(int64(len(c.frame)))
	return c, k
}

const benchText = "one hundred and twenty-eight bytes of envelope, or about that, as in the bench"

// BenchmarkReadDispatch measures a client's message from its bytes to the
// instance's stream, on one node: read, peek, route, credit, send.
func BenchmarkReadDispatch(b *testing.B) {
	c, k := benchSetup(b)
	k.want.Store(int64(1 + b.N))
	b.ResetTimer()
	c.send(b.N)
	<-k.reached
}

// BenchmarkDeliverWrite measures a service's message from the stream to the bytes
// for the client.
func BenchmarkDeliverWrite(b *testing.B) {
	c, k := benchSetup(b)
	msg := fmt.Appendf(nil, `{"id":"1234","data":{"text":%q}}`, benchText)
	writes := c.writes.Load()
	c.missing.Store(int64(b.N * (len(appendHeader(nil, 0, len(msg))) + len(msg))))
	b.ResetTimer()
	credit := DefaultReplyWindow
	for range b.N {
		for credit <= 0 {
			credit += <-k.credit
		}
		if err := k.stream.SendData(b.Context(), wire.Text, "", msg); err != nil {
			b.Fatal(err)
		}
		credit -= len(msg) + wire.DataOverhead
	}
	<-c.taken
	b.ReportMetric(float64(b.N)/float64(c.writes.Load()-writes), "msgs/write")
}
