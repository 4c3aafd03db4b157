package link

import (
	"slices"
	"testing"
	"time"
)

// pair starts nodes a and b of one world with a fixed configuration.
func pair(t testing.TB, cfg Config) (w *world, a, b *node) {
	w = newWorld(t, cfg)
	return w, w.start("a", 1), w.start("b", 1)
}

// sendBatches sends n frames, each in a batch of its own, and leaves the
// datagrams in flight.
func sendBatches(from, to *node, n int) {
	for range n {
		from.send(to.self, 100)
		from.flush()
	}
}

func (w *world) expect(from, to *node, frames int) {
	w.checkAll()
	if got := len(to.received[lifeKey{from.self, from.mesh.To(to.self).gen}]); got != frames {
		w.fatal("%v received %d frames, want %d", to.self, got, frames)
	}
}

// read opens a datagram in flight.
func (w *world) read(i int) header {
	var h header
	if _, err := open(w.flying[i].data, &h); err != nil {
		w.fatal("datagram %d: %v", i, err)
	}
	return h
}

func TestGapIsRepairedAtOnceAndAlone(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 10)
	w.flying = slices.Delete(w.flying, 7, 8)
	w.flying = slices.Delete(w.flying, 2, 4)
	w.exchange() // no time passes
	w.expect(a, b, 10)
	if s := a.mesh.To(b.self).Stats(); s.Retransmitted != 3 || s.Probes != 0 {
		t.Errorf("%d batches left again, %d questions; want 3 and 0", s.Retransmitted, s.Probes)
	}
	if s := b.mesh.To(a.self).Stats(); s.Gaps != 2 || s.Duplicates != 0 {
		t.Errorf("%d gaps, %d duplicates; want 2 and 0", s.Gaps, s.Duplicates)
	}
}

func TestRepairIsRepeatedWhenItIsLostToo(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 3)
	w.flying = w.flying[1:]
	w.deliverFirst(2)
	b.flush()
	w.deliverFirst(1) // the report
	a.flush()
	w.flying = nil // the repair is lost
	sendBatches(a, b, 1)
	w.exchange()
	w.settle(DefaultAckDelay)
	w.expect(a, b, 4)
	if s := a.mesh.To(b.self).Stats(); s.Probes != 0 {
		t.Errorf("%d questions were asked; the next report should do", s.Probes)
	}
}

func TestSameReportTwiceRepairsOnce(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 3)
	w.flying = w.flying[1:]
	w.deliverFirst(2)
	b.flush()
	w.deliver(0, true)
	w.deliver(0, false)
	a.flush()
	a.flush()
	if n := len(w.flying); n != 1 {
		t.Fatalf("%d datagrams repair one lost batch", n)
	}
	w.exchange()
	w.expect(a, b, 3)
}

func TestLostTailIsAskedFor(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 5)
	w.flying = w.flying[:3]
	w.settle(DefaultAckDelay) // brings the acknowledgement of the first three
	w.settle(DefaultMinRTO - 5*time.Millisecond)
	w.expect(a, b, 3)
	w.settle(10 * time.Millisecond)
	w.expect(a, b, 5)
	if s := a.mesh.To(b.self).Stats(); s.Probes != 1 || s.Retransmitted != 2 {
		t.Errorf("%d questions, %d batches left again; want 1 and 2", s.Probes, s.Retransmitted)
	}
}

func TestSilenceIsAskedAtDoublingIntervals(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 1)
	w.flying = nil
	start, asked := w.now, []time.Duration{}
	for w.now.Sub(start) < 2*time.Second {
		w.sleep(time.Millisecond)
		a.flush()
		for range w.flying {
			if h := w.read(0); !h.sync || h.count > 0 {
				t.Fatalf("silence is answered with %d frames; want a question", h.count)
			}
			asked = append(asked, w.now.Sub(start))
			w.flying = w.flying[1:]
		}
	}
	const ms = time.Millisecond
	want := []time.Duration{50 * ms, 150 * ms, 350 * ms, 750 * ms, 1150 * ms, 1550 * ms, 1950 * ms}
	if !slices.Equal(asked, want) {
		t.Errorf("asked at %v, want %v", asked, want)
	}
}

func TestTalkingPeerThatHearsNothingIsAsked(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 1)
	w.flying = nil
	for range 20 { // b talks all the time, and each of a's answers is lost
		sendBatches(b, a, 1)
		w.deliverFirst(1)
		w.sleep(5 * time.Millisecond)
	}
	a.flush()
	if s := a.mesh.To(b.self).Stats(); s.Probes == 0 {
		t.Error("no question was asked")
	}
}

func TestUnsubscribedPeerIsProbedNotBlasted(t *testing.T) {
	w, a, b := pair(t, Config{MaxBatchBytes: 2 * maxHeader})
	b.deaf = true
	for range 100 {
		a.send(b.self, 300)
	}
	published := 0
	start := w.now
	for w.now.Sub(start) < 5*time.Second {
		before := a.mesh.To(b.self).num
		a.flush()
		published += int(a.mesh.To(b.self).num - before)
		w.sleep(time.Millisecond)
	}
	if s := a.mesh.To(b.self).Stats(); s.BatchesSent != 1 || !s.Unsubscribed || published > 52 || published < 45 {
		t.Errorf("%d batches and %d datagrams left in 5 s, unsubscribed %v", s.BatchesSent, published, s.Unsubscribed)
	}
	b.deaf = false
	w.sleep(DefaultProbeInterval)
	a.flush()
	if n := w.read(0).count; n != 0 || len(a.ready) == 0 {
		t.Errorf("the question carries %d frames; ready to go on without the answer: %v", n, len(a.ready) > 0)
	}
	w.exchange()
	w.expect(a, b, 100)
	if s := a.mesh.To(b.self).Stats(); s.Retransmitted != 1 || s.Unsubscribed {
		t.Errorf("%d batches left again, want 1; unsubscribed %v", s.Retransmitted, s.Unsubscribed)
	}
}

func TestUnsubscribedPeerThatSpeaksGetsEverything(t *testing.T) {
	w, a, b := pair(t, Config{})
	sendBatches(a, b, 1)
	w.exchange()
	b.deaf = true
	sendBatches(a, b, 3)
	b.deaf = false
	w.truth = func() bool { return false } // the bus cannot tell that it listens again
	(*inbox)(b.mesh).Gap()
	w.exchange() // no time passes
	w.expect(a, b, 4)
}

func TestResubscriptionRepairsAtOnce(t *testing.T) {
	w, a, b := pair(t, Config{})
	w.truth = func() bool { return false }
	sendBatches(a, b, 1)
	sendBatches(b, a, 1)
	w.exchange()
	b.deaf = true
	sendBatches(a, b, 5)
	w.flying = nil
	b.deaf = false
	(*inbox)(b.mesh).Gap()
	w.exchange() // no time passes
	w.expect(a, b, 6)
}

// TestOneWayStreamNeverWaitsForTimers: a window that fills again and again keeps
// moving without the clock.
func TestHeldFramesAreBounded(t *testing.T) {
	w, a, b := pair(t, Config{WindowBytes: 4096, ControlBytes: 100_000})
	for range 100 {
		a.control(b.self, 400)
		a.flush()
	}
	w.flying = w.flying[1:]
	w.deliverFirst(len(w.flying)) // checks the bound
	if n := b.mesh.Stats().Rejected[RejectOverflow]; n == 0 {
		t.Error("nothing was rejected")
	}
	w.settle(time.Second)
	w.expect(a, b, 100)
}

func TestIdleLinksNeedNoTimer(t *testing.T) {
	w, a, b := pair(t, Config{})
	for range 2000 {
		a.send(b.self, 400)
		b.send(a.self, 400)
	}
	w.exchange()
	w.settle(5 * time.Second)
	w.expect(a, b, 2000)
	for _, n := range w.all {
		if next := n.mesh.tick(w.now); !next.IsZero() || len(n.mesh.timers.active) > 0 {
			t.Errorf("%v: a timer runs on an idle link", n.self)
		}
		for _, l := range n.mesh.Links() {
			if size := len(l.snd.data.buf); size > keepRing {
				t.Errorf("%v: an idle link keeps a buffer of %d bytes", n.self, size)
			}
		}
	}
}

func TestBatchesKeepTheirSize(t *testing.T) {
	w, a, b := pair(t, Config{MaxBatchBytes: 4096, WindowBytes: 64 << 10})
	for _, size := range []int{10, 3000, 20, 10_000, 30, 40, 3600, 50} {
		a.send(b.self, size)
	}
	for range 10 {
		a.flush()
	}
	counts := []int{}
	for i := range w.flying {
		h := w.read(i)
		if n := len(w.flying[i].data); n > 4096 && h.count > 1 {
			t.Errorf("a batch of %d frames has %d bytes", h.count, n)
		}
		counts = append(counts, h.count)
	}
	if want := []int{3, 1, 2, 1, 1}; !slices.Equal(counts, want) {
		t.Errorf("frames in batches: %v, want %v", counts, want)
	}
	w.exchange()
	w.expect(a, b, 8)
}
