package linktest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// testDelivery: a datagram arrives unchanged after a first gap, its receivers are
// counted, and its bytes stay what they are while more arrive.
func (h Harness) testDelivery(t *testing.T) {
	a, b := h.New(t), h.New(t)
	channel := b.Channel(newNode("b"))
	in, _ := subscribe(t, b, channel)
	in.wait(t, "gap", func() bool { return in.gaps > 0 })
	want := numbered(200, 300)
	want = append(want, []byte{0}, []byte("\r\n\x00\xff"))
	src := newScript(t, channel, want...)
	a.Ready(src)
	in.wait(t, "delivery", func() bool { return len(in.datagrams) == len(want) })
	src.wait(len(want))
	for i := range want {
		if !bytes.Equal(in.datagrams[i], want[i]) {
			t.Fatalf("datagram %d was altered", i)
		}
		if n := src.outcomes[i]; src.errors[i] != nil || n == 0 || n > 1 {
			t.Fatalf("datagram %d: %d receivers, error %v; want 1, or less than 0 for unknown", i, n, src.errors[i])
		}
	}
	if in.early || in.overlap {
		t.Fatalf("a datagram came before the first gap: %v; calls overlapped: %v", in.early, in.overlap)
	}
}

// testOrder: datagrams of one source arrive in order, small and large mixed.
func (h Harness) testOrder(t *testing.T) {
	a, b := h.New(t), h.New(t)
	channel := b.Channel(newNode("b"))
	in, _ := subscribe(t, b, channel)
	var want [][]byte
	for i, d := range numbered(600, 10) {
		if i%50 == 0 {
			d = append(d, make([]byte, 60<<10)...)
		}
		want = append(want, d)
	}
	a.Ready(newScript(t, channel, want...))
	in.wait(t, "delivery of all", func() bool { return len(in.datagrams) >= len(want) })
	for i := range want {
		if !bytes.Equal(in.datagrams[i], want[i]) {
			t.Fatalf("datagram %d is not the one sent as number %d", i, i)
		}
	}
}

// testPull: the bus asks a source only while it has more, and again after Ready.
func (h Harness) testPull(t *testing.T) {
	a, b := h.New(t), h.New(t)
	channel := b.Channel(newNode("b"))
	in, _ := subscribe(t, b, channel)
	src := newScript(t, channel)
	for round := range 50 {
		src.mu.Lock()
		src.todo = numbered(3, round)
		src.mu.Unlock()
		a.Ready(src)
		a.Ready(src) // has no further effect than one more Next
		src.wait(3 * (round + 1))
	}
	in.wait(t, "delivery", func() bool { return len(in.datagrams) == 150 })
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.idle > 100 {
		t.Fatalf("Next was called %d times in vain for 100 calls of Ready", src.idle)
	}
}

// testManySources: sources that become ready concurrently are all served.
func (h Harness) testManySources(t *testing.T) {
	a, b := h.New(t), h.New(t)
	const channels, sources, datagrams = 4, 8, 20
	var wg sync.WaitGroup
	var inboxes []*inbox
	for c := range channels {
		channel := b.Channel(newNode(fmt.Sprintf("b%d", c)))
		in, _ := subscribe(t, b, channel)
		inboxes = append(inboxes, in)
		for range sources {
			wg.Go(func() { a.Ready(newScript(t, channel, numbered(datagrams, 100)...)) })
		}
	}
	wg.Wait()
	for _, in := range inboxes {
		in.wait(t, "delivery", func() bool { return len(in.datagrams) == sources*datagrams })
	}
}

// testNobody: a datagram to a channel without subscribers is reported as such, or
// as unknown.
func (h Harness) testNobody(t *testing.T) {
	a := h.New(t)
	src := newScript(t, a.Channel(newNode("nobody")), numbered(1, 10)...)
	a.Ready(src)
	src.wait(1)
	if src.outcomes[0] > 0 || src.errors[0] != nil {
		t.Fatalf("%d receivers, error %v; want 0", src.outcomes[0], src.errors[0])
	}
}

// testLargest: a datagram of MaxDatagram bytes is carried, and delays no order.
func (h Harness) testLargest(t *testing.T) {
	a, b := h.New(t), h.New(t)
	if a.MaxDatagram() < 128<<10 {
		t.Fatalf("MaxDatagram is %d; must be at least 128 KiB", a.MaxDatagram())
	}
	channel := b.Channel(newNode("b"))
	in, _ := subscribe(t, b, channel)
	want := [][]byte{[]byte("before"), bytes.Repeat([]byte("x"), a.MaxDatagram()), []byte("after")}
	a.Ready(newScript(t, channel, want...))
	in.wait(t, "delivery", func() bool { return len(in.datagrams) == 3 })
	for i := range want {
		if !bytes.Equal(in.datagrams[i], want[i]) {
			t.Fatalf("datagram %d of %d bytes was altered", i, len(want[i]))
		}
	}
}

// testClose: a closed subscription delivers nothing more, others go on.
func (h Harness) testClose(t *testing.T) {
	a, b := h.New(t), h.New(t)
	one, two := b.Channel(newNode("one")), b.Channel(newNode("two"))
	closed, sub := subscribe(t, b, one)
	open, _ := subscribe(t, b, two)
	sub.Close()
	sub.Close() // is harmless
	closed.mu.Lock()
	gaps := closed.gaps
	closed.mu.Unlock()
	src := newScript(t, one, numbered(1, 10)...)
	a.Ready(src)
	src.wait(1)
	a.Ready(newScript(t, two, numbered(1, 10)...))
	open.wait(t, "delivery", func() bool { return len(open.datagrams) == 1 })
	closed.mu.Lock()
	defer closed.mu.Unlock()
	if len(closed.datagrams) > 0 || closed.gaps != gaps {
		t.Fatal("a closed subscription delivered")
	}
}

// testResubscription: after an interruption the receiver is told of a gap, before
// anything that is published later.
func (h Harness) testResubscription(t *testing.T) {
	a, b := h.New(t), h.New(t)
	channel := b.Channel(newNode("b"))
	in, _ := subscribe(t, b, channel)
	in.wait(t, "gap", func() bool { return in.gaps > 0 })
	in.mu.Lock()
	gaps := in.gaps
	in.mu.Unlock()
	h.Interrupt(b)
	in.wait(t, "gap", func() bool { return in.gaps > gaps })
	a.Ready(newScript(t, channel, []byte("later")))
	in.wait(t, "delivery", func() bool { return len(in.datagrams) == 1 })
}
