package gateway

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// jam is an instance that stops receiving, and a gateway whose link to it is full
// soon.
type jam struct {
	gw      *server
	a       *instance
	release func() // lets the instance go on
	got     chan string
}

func newJam(w *world, policy registry.Policy, cfg Config) *jam {
	w.Helper()
	j := &jam{got: make(chan string, 1000)}
	j.gw = w.gatewayOn(w.nodeWith(link.Config{WindowBytes: 72 << 10}), cfg)
	j.a = w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: policy})
	gate := make(chan struct{})
	released := false
	j.release = func() {
		if !released {
			released = true
			close(gate)
		}
	}
	w.Cleanup(j.release)
	j.a.onData = func(_ *peerSocket, d wire.Data) {
		<-gate // no test but this may do so in the receiving goroutine
		j.got <- string(d.Payload)
	}
	j.gw.routed("/a")
	return j
}

// fill sends messages until the read loop of the client waits for the link, and
// returns how many.
func (j *jam) fill(c *wsClient) int {
	c.w.Helper()
	const n = 24 // less than the credit, more than a batch and a window
	for i := range n {
		c.put(numbered(i))
	}
	c.w.eventually("the read loop waits for the link", func() bool {
		for _, conn := range j.gw.connections() {
			if conn.waitsForLink() {
				return true
			}
		}
		return false
	})
	return n
}

func numbered(i int) string { return message("/a", fmt.Sprint(i), strings.Repeat("x", 8<<10)) }

// waitsForLink reports whether one message has been under way to the link for a
// while.
func (c *conn) waitsForLink() bool {
	sending := func() (*pin, int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sending == nil {
			return nil, 0
		}
		return c.sending, c.sending.credit
	}
	before, credit := sending()
	if before == nil {
		return false
	}
	<-time.After(50 * time.Millisecond)
	now, left := sending()
	return now == before && left == credit
}

// TestDrainWhileSending checks that Close comes after the message that is being
// sent, and that nothing follows it.
func TestDrainWhileSending(t *testing.T) {
	w := newWorld(t)
	j := newJam(w, registry.PolicyClose, Config{DrainWindow: -1})
	j.a.slow = true // so that frames after the Close would be seen
	c := j.gw.dial()
	j.fill(c)
	s := receive(w, "open", j.a.opened)
	result := make(chan error, 1)
	go func() { result <- j.gw.Drain(w.context()) }()
	w.eventually("the gateway drains", func() bool {
		j.gw.mu.Lock()
		defer j.gw.mu.Unlock()
		return len(j.gw.closing) > 0
	})
	j.release()
	s.wantClosed(drained)
	_ = s.stream.SendClosed()
	c.wantClose(wire.CloseRestart, "drain")
	if err := receive(w, "Drain", result); err != nil {
		t.Error(err)
	}
	for i := range len(j.got) {
		if got := receive(w, "data", j.got); got != numbered(i) {
			t.Fatalf("message %d is %.40s", i, got)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.kinds, wire.KindClose); slices.Contains(s.kinds[i:], wire.KindData) {
		t.Errorf("messages came after the Close: frames of the kinds %d", s.kinds)
	}
}

// TestStopWhileSending checks that a stop does not wait for a link.
func TestStopWhileSending(t *testing.T) {
	w := newWorld(t)
	j := newJam(w, registry.PolicyClose, Config{})
	c := j.gw.dial()
	j.fill(c)
	j.gw.stop()
	if err := receive(w, "Run", j.gw.ended); err != nil {
		t.Error(err)
	}
	c.wantClose(wire.CloseGoingAway, "shutdown")
}

// TestLinkBreaksWhileSending checks that each message whose outcome is in doubt is
// reported, that none is both reported and handled elsewhere, and that the socket
// goes on.
func TestLinkBreaksWhileSending(t *testing.T) {
	w := newWorld(t)
	j := newJam(w, registry.PolicyRepin, Config{})
	c := j.gw.dial()
	sent := j.fill(c)
	b := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a"), OnInstanceLoss: registry.PolicyRepin})
	if err := j.a.bp.Registry().SetState(w.context(), "a", registry.StateDraining); err != nil {
		t.Fatal(err)
	}
	j.gw.bp.Mesh().Forget(j.a.bp.Self())
	lost := map[string]bool{}
	s := receive(w, "open on the other instance", b.opened)
	c.put(message("/a", "last", "x"))
	for last := false; !last; {
		d := receive(w, "data", s.data)
		last = string(d.Payload) == message("/a", "last", "x")
		s.send(string(d.Payload))
	}
	handled := 0
	for {
		var id string
		msg := c.get()
		if _, err := fmt.Sscanf(msg, `{"id":%q`, &id); err == nil { // an error
			if !strings.Contains(msg, string(wire.CodeInstanceLost)) || lost[id] {
				t.Fatalf("the client got %s", msg)
			}
			lost[id] = true
			continue
		}
		if msg == message("/a", "last", "x") {
			break
		}
		if want := numbered(len(lost) + handled); msg != want {
			t.Fatalf("the other instance handled %.40s; want %.40s", msg, want)
		}
		handled++
	}
	if len(lost) == 0 || len(lost)+handled != sent {
		t.Errorf("%d messages are lost and %d handled elsewhere, of %d", len(lost), handled, sent)
	}
}

// TestPinTimeout checks what a client gets while Redis does not answer, and that
// it is well again afterwards.
func TestPinTimeout(t *testing.T) {
	w := newWorld(t)
	type pinned struct {
		took time.Duration
		err  error
	}
	pins := make(chan pinned, 10)
	gw := w.gateway(Config{PinTimeout: 100 * time.Millisecond, Hooks: Hooks{
		Pinned: func(_ string, took time.Duration, err error) { pins <- pinned{took, err} },
	}})
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	c, leaver := gw.dial(), gw.dial()

	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	cont := func() {
		if err := redis.Cont(); err != nil {
			t.Error(err)
		}
	}
	c.put(message("/a", "1", "x"))
	leaver.put(message("/a", "1", "x"))
	if advice := c.wantError("1", wire.CodeUnavailable); advice != retryUnavailable {
		t.Errorf("the client is told to try again after %v; want %v", advice, retryUnavailable)
	}
	if p := receive(w, "the hook", pins); p.err == nil || p.took < 100*time.Millisecond {
		t.Errorf("the hook was told %v after %v", p.err, p.took)
	}
	_ = leaver.Close()
	cont()
	w.eventually("the client is served again", func() bool { // Redis may still be too slow for the timeout
		c.put(message("/a", "2", "x"))
		return c.get() == message("/a", "2", "x")
	})
}

// TestRedisUnreachable checks what the gateway says of itself, and that clients are
// let in all the same.
func TestRedisUnreachable(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the gateway notices", func() bool { return errors.Is(gw.Ready(), ErrUnreachable) })
	gw.dial()
	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the gateway notices", func() bool { return gw.Ready() == nil })
}

// TestStopWhilePinning checks that a stop does not wait for Redis.
func TestStopWhilePinning(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{PinTimeout: time.Minute})
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c := gw.dial()
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	c.put(message("/a", "1", "x"))
	w.eventually("the read loop waits", func() bool {
		conns := gw.connections() // a client may think it is connected a moment before the gateway does
		return len(conns) == 1 && conns[0].held.Load()
	})
	gw.stop()
	c.wantClose(wire.CloseGoingAway, "shutdown")
	err := receive(w, "Run", gw.ended)
	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// TestDrainWhileOpening drains while the stream of a socket's second service is
// being opened: that stream must not be forgotten.
func TestDrainWhileOpening(t *testing.T) {
	w := newWorld(t)
	j := newJam(w, registry.PolicyClose, Config{DrainWindow: -1, CloseTimeout: 100 * time.Millisecond})
	b := w.instance(w.node(), registry.Service{Name: "b", Routes: routes("/b")})
	b.slow = true
	j.gw.routed("/b")
	j.fill(j.gw.dial())
	receive(w, "open", j.a.opened)
	c := j.gw.dial()
	c.put(message("/b", "1", "x"))
	sb := receive(w, "open", b.opened)
	c.put(message("/a", "2", "x"))
	w.eventually("the second stream is being opened", func() bool {
		for _, conn := range j.gw.connections() {
			if conn.held.Load() {
				<-time.After(50 * time.Millisecond) // it may have been the first stream
				return conn.held.Load()
			}
		}
		return false
	})
	result := make(chan error, 1)
	go func() { result <- j.gw.Drain(w.context()) }()
	sb.wantClosed(drained)
	j.release()
	receive(w, "open of the second stream", j.a.opened).wantClosed(drained)
	sb.gone()
	c.wantClose(wire.CloseRestart, "drain")
	if err := receive(w, "Drain", result); err != nil {
		t.Error(err)
	}
}

// TestMisbehavingInstance checks that a node of another make costs no more than
// the sockets that it has.
func TestMisbehavingInstance(t *testing.T) {
	for name, misbehave := range map[string]func(*peerSocket){
		"malformed data": func(s *peerSocket) { _ = s.stream.SendData(context.Background(), 9, "", nil) },
		"closed unasked": func(s *peerSocket) { s.gone() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			gw := w.gateway(Config{})
			a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")})
			gw.routed("/a")
			c, other := gw.dial(), gw.dial()
			c.put(message("/a", "1", "x"))
			s := receive(w, "open", a.opened)
			other.put(message("/a", "1", "x"))
			so := receive(w, "open", a.opened)
			misbehave(s)
			c.wantClose(wire.CloseRestart, "instance_lost")
			so.send("unharmed")
			other.want("unharmed")
		})
	}
}

// TestPanicEndsOneConnection lets a hook panic in the read loop.
func TestPanicEndsOneConnection(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{Hooks: Hooks{MessagesIn: func(service string, _, _ int) {
		if service == "bad" {
			panic("a defect")
		}
	}}})
	a := w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")}).echo()
	bad := w.instance(gw.bp, registry.Service{Name: "bad", Routes: routes("/bad")})
	gw.routed("/a")
	gw.routed("/bad")
	c, other := gw.dial(), gw.dial()
	c.put(message("/bad", "1", "x"))
	c.wantClose(wire.CloseInternal, "internal")
	receive(w, "open", bad.opened).wantClosed(wire.Close{Status: wire.CloseInternal, Reason: "internal", Source: wire.SourceServer})
	other.put(message("/a", "1", "x"))
	other.want(message("/a", "1", "x"))
	receive(w, "open", a.opened)
}

// TestDrainDuringHandshake checks the client that was let in just before.
func TestDrainDuringHandshake(t *testing.T) {
	w := newWorld(t)
	reasons := make(chan string, 1)
	gw := w.gateway(Config{DrainWindow: -1, CloseTimeout: 100 * time.Millisecond, Hooks: Hooks{
		SocketClosed: func(_ wire.CloseCode, reason string, _ time.Duration) { reasons <- reason },
	}})
	c := newStubClient("{}")
	c.gate = make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.connect(gw.Gateway)
	}()
	w.eventually("the handshake is under way", func() bool {
		gw.mu.Lock()
		defer gw.mu.Unlock()
		return gw.accepting == 1
	})
	result := make(chan error, 2)
	for range 2 {
		go func() { result <- gw.Drain(w.context()) }()
	}
	w.eventually("the gateway drains", func() bool { return gw.Ready() != nil })
	close(c.gate)
	<-done
	for range 2 {
		if err := receive(w, "Drain", result); err != nil {
			t.Error(err)
		}
	}
	if reason := receive(w, "close", reasons); reason != "drain" {
		t.Errorf("closed for %s", reason)
	}
}

// TestStopDuringDrain checks that the end of Run's context ends a drain.
func TestStopDuringDrain(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{DrainWindow: time.Hour})
	gw.dial()
	gw.dial()
	result := make(chan error, 1)
	go func() { result <- gw.Drain(context.Background()) }()
	w.eventually("the gateway drains", func() bool { return gw.Ready() != nil })
	second, cancel := context.WithCancel(w.context())
	cancel()
	if err := gw.Drain(second); !errors.Is(err, context.Canceled) {
		t.Errorf("a second Drain with an ended context: %v", err)
	}
	gw.stop()
	if err := receive(w, "Drain", result); err != nil {
		t.Error(err)
	}
	if err := receive(w, "Run", gw.ended); err != nil {
		t.Error(err)
	}
}

// FuzzCheckPath compares with path.Clean.
func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"/", "/a/b/", "/a//b", "/a/../b", "/./a", "a", "/a\x00", "/...", "//"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		control := strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f })
		clean := p == "/" || p != "//" && path.Clean(p) == strings.TrimSuffix(p, "/")
		encoded := regexp.MustCompile(`(?i)%(2e|2f|5c|00)`).MatchString(p)
		want := strings.HasPrefix(p, "/") && clean && !control && !encoded && utf8.ValidString(p)
		if err := checkPath([]byte(p)); (err == nil) != want {
			t.Errorf("%q: %v; want ok: %v", p, err, want)
		}
	})
}
