package link

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestForget(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	sendBatches(b, a, 2) // late datagrams of the forgotten peer
	a.mesh.Forget(b.self)
	if err := a.mesh.To(b.self).Send(context.Background(), nil, nil); !errors.Is(err, ErrReset) || errors.Is(err, ErrGone) {
		t.Fatalf("Send before the reset was carried out: %v; want ErrReset", err)
	}
	w.sleep(0)
	a.wantResets(b, CauseForgotten)
	w.deliverFirst(2)
	w.checkAll()
	if n := a.mesh.Stats().Rejected[RejectOldGeneration]; n != 2 {
		t.Errorf("%d late datagrams were rejected, want 2", n)
	}
	a.mesh.Forget(b.self) // has no effect while nothing happens in between
	w.sleep(0)
	a.wantResets(b, CauseForgotten)

	w.exchange() // b lives, and learns
	b.wantResets(a, CausePeer)
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)

	a.mesh.Forget(b.self)
	w.sleep(0)
	a.wantResets(b, CauseForgotten, CauseForgotten)
}

func TestForgottenPeerIsToldWhenItComesBack(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	b.deaf = true
	a.mesh.Forget(b.self)
	before := a.mesh.To(b.self).num
	w.settle(3 * time.Minute)
	if n := a.mesh.To(b.self).num - before; n > 50 {
		t.Errorf("%d datagrams were published to a dead peer in 3 minutes", n)
	}
	b.deaf = false
	w.settle(tellLimit)
	b.wantResets(a, CausePeer)
}

func TestForgottenPeerThatSpeaksIsToldAtOnce(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	a.mesh.Forget(b.self)
	w.sleep(0)
	a.flush()
	w.flying = nil // the news is lost
	b.send(a.self, 1)
	w.exchange() // no time passes
	b.wantResets(a, CausePeer)
}

// TestSilentPeerIsNotToldForEver: after a reset that the peer never confirms, the
func TestSilentPeerIsNotToldForEver(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	b.deaf = true
	a.send(b.self, 1)
	w.settle(DefaultResetAfter + time.Second)
	a.wantResets(b, CauseTimeout)
	for range (DefaultForgottenFor + 2*tellLimit) / time.Second {
		w.sleep(time.Second)
		w.exchange()
	}
	if next := a.mesh.tick(w.now); !next.IsZero() {
		t.Error("it is still told")
	}
}

func TestForgottenPeerThatCameBackStays(t *testing.T) {
	w, a, b := pair(t, Config{MaxPeers: 1})
	a.mesh.Forget(b.self)
	w.settle(time.Second)
	talk(w, a, b)
	for range 2 * DefaultForgottenFor / time.Second {
		w.sleep(time.Second)
		w.exchange()
	}
	c := w.start("c", 1)
	c.send(a.self, 1)
	w.exchange()
	talk(w, a, b)
	w.expect(a, b, 2)
	w.expect(b, a, 2)
	if n := a.mesh.Stats().Rejected[RejectTooManyPeers]; n == 0 {
		t.Error("the link was evicted")
	}
}

func TestPeerResetsBeforeForgetIsCarriedOut(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	b.mesh.Forget(a.self)
	b.mesh.tick(w.now)
	a.mesh.Forget(b.self)
	w.exchange()
	w.sleep(0)
	a.wantResets(b, CausePeer)
	talk(w, a, b)
	w.expect(a, b, 1)
}

func TestForgetWhileAResetIsTold(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	b.mesh.Forget(a.self)
	b.mesh.tick(w.now)
	a.send(b.self, 1)
	a.onReset = func() {
		a.onReset = nil
		a.mesh.Forget(b.self)
	}
	w.exchange()
	if err := a.mesh.To(b.self).SendControl(nil); !errors.Is(err, ErrReset) {
		t.Errorf("SendControl before the second reset: %v, want ErrReset", err)
	}
	w.sleep(0)
	a.wantResets(b, CausePeer, CauseForgotten)
	if err := a.mesh.To(b.self).SendControl(nil); err != nil {
		t.Errorf("SendControl after the second reset: %v", err)
	}
}

// TestSupersededStaysSuperseded: nothing revives a link that was taken off the
func TestSupersededStaysSuperseded(t *testing.T) {
	w, a, b := pair(t, Config{})
	for name, meanwhile := range map[string]func(l *Link){
		"forgotten before": func(*Link) {},
		"peer resets":      func(l *Link) { l.receive(&header{gen: 9, num: 100}, nil) },
	} {
		b.self.Epoch++
		l := a.mesh.To(b.self)
		a.send(b.self, 1)
		a.mesh.Forget(b.self)
		b.self.Epoch++
		a.mesh.To(b.self)
		meanwhile(l)
		w.sleep(0)
		if err := l.SendControl(nil); !errors.Is(err, ErrGone) {
			t.Errorf("%s: SendControl: %v, want ErrGone", name, err)
		}
		if r := a.resets[l.peer]; len(r) != 1 || r[0].Cause != CauseSuperseded {
			t.Errorf("%s: resets %+v", name, r)
		}
	}
}

func TestForgottenPeerIsDroppedInTheEnd(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	b.deaf = true
	a.mesh.Forget(b.self)
	a.mesh.Forget(wire.Incarnation{Node: "never-met", Epoch: 7})
	w.settle(DefaultForgottenFor - time.Second)
	if n := a.mesh.Stats().Links; n != 2 {
		t.Fatalf("%d links are kept, want 2", n)
	}
	w.settle(2 * time.Second)
	if n := a.mesh.Stats().Links; n != 0 {
		t.Fatalf("%d links are kept, want 0", n)
	}
	if next := a.mesh.tick(w.now); !next.IsZero() {
		t.Error("a timer still runs")
	}
	// The peer still has its state; this node has none.
	b.deaf = false
	b.send(a.self, 1)
	w.settle(time.Second)
	a.wantResets(b, CauseForgotten, CauseLostState)
	b.wantResets(a, CausePeer)
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)
}

func TestUntouchedLinkAdoptsTheGeneration(t *testing.T) {
	w, a, b := pair(t, Config{})
	a.mesh.To(b.self)
	b.mesh.Forget(a.self)
	w.settle(time.Second)
	a.wantResets(b)
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)
	a.wantResets(b)
}
