package link

import (
	"fmt"
	"testing"
	"time"
)

func TestRoundTripIsMeasuredWhileMoreIsSent(t *testing.T) {
	w, a, b := pair(t, Config{AckDelay: -1})
	sendBatches(a, b, 1)
	w.sleep(5 * time.Millisecond)
	sendBatches(a, b, 1)
	w.deliverFirst(1)
	b.flush()
	w.deliver(1, false)
	if rtt := a.mesh.To(b.self).Stats().RTT; rtt != 5*time.Millisecond {
		t.Errorf("the round trip took %v, want 5ms", rtt)
	}
}

func TestOvertakenDatagramIsNotTheNewest(t *testing.T) {
	w, a, b := pair(t, Config{AckDelay: -1})
	sendBatches(a, b, 3)
	w.deliver(2, false)
	w.deliver(0, false)
	b.flush()
	if h := w.read(1); h.seen != 3 || h.ack != 1 {
		t.Errorf("seen %d, acknowledged %d; want 3 and 1", h.seen, h.ack)
	}
}

func TestAcknowledgements(t *testing.T) {
	t.Run("alone after AckDelay", func(t *testing.T) {
		w, a, b := pair(t, Config{})
		sendBatches(a, b, 3)
		w.settle(DefaultAckDelay - 5*time.Millisecond)
		if n := a.mesh.To(b.self).snd.frames; n != 3 {
			t.Fatalf("%d frames wait before the delay is over; want 3", n)
		}
		w.settle(10 * time.Millisecond)
		if n, sent := a.mesh.To(b.self).snd.frames, b.mesh.To(a.self).num; n != 0 || sent != 1 {
			t.Fatalf("%d frames wait, %d acknowledgements were sent; want 0 and 1", n, sent)
		}
	})
	t.Run("with a frame", func(t *testing.T) {
		w, a, b := pair(t, Config{})
		sendBatches(a, b, 3)
		w.deliverFirst(3)
		sendBatches(b, a, 1)
		w.deliverFirst(1)
		if n := a.mesh.To(b.self).snd.frames; n != 0 {
			t.Fatalf("%d frames wait; want 0", n)
		}
		w.sleep(DefaultAckDelay)
		if b.flush(); len(w.flying) > 0 {
			t.Fatal("a second acknowledgement was sent")
		}
	})
	t.Run("at once at half a window", func(t *testing.T) {
		w, a, b := pair(t, Config{WindowFrames: 16})
		sendBatches(a, b, 7)
		w.exchange()
		if n := b.mesh.To(a.self).num; n != 0 {
			t.Fatalf("%d acknowledgements for less than half a window", n)
		}
		sendBatches(a, b, 2)
		w.exchange()
		if n := a.mesh.To(b.self).snd.frames; n > 1 {
			t.Fatalf("%d frames wait; want at most 1", n)
		}
	})
	t.Run("undelayed", func(t *testing.T) {
		w, a, b := pair(t, Config{AckDelay: -1})
		sendBatches(a, b, 1)
		w.exchange()
		if n := a.mesh.To(b.self).snd.frames; n != 0 {
			t.Fatalf("%d frames wait; want 0", n)
		}
	})
}

func TestOneWayStreamNeverWaitsForTimers(t *testing.T) {
	for _, window := range []int{1, 2, 16, 1000} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			w, a, b := pair(t, Config{WindowFrames: window})
			sent := 0
			for range 50 {
				for a.send(b.self, 100) {
					sent++
				}
				w.exchange()
			}
			w.expect(a, b, sent)
			if sent < 45*max(window/2, 1) {
				t.Errorf("only %d frames were accepted", sent)
			}
		})
	}
}
