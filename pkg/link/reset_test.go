package link

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// cut loses everything between two nodes.
func (w *world) cut(a, b *node) {
	w.blocked[[2]wire.NodeID{a.self.Node, b.self.Node}] = true
	w.blocked[[2]wire.NodeID{b.self.Node, a.self.Node}] = true
}

func (n *node) wantResets(peer *node, causes ...Cause) {
	got := n.resets[peer.self]
	ok := len(got) == len(causes)
	for i := range got {
		ok = ok && got[i].Cause == causes[i]
	}
	if !ok {
		n.w.fatal("%v: resets %+v, want causes %v", n.self, got, causes)
	}
}

// talk sends a frame each way and lets both arrive and be acknowledged.
func talk(w *world, a, b *node) {
	a.send(b.self, 1)
	b.send(a.self, 1)
	w.settle(DefaultAckDelay + 10*time.Millisecond)
}

func TestSilenceResetsBothEnds(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	w.cut(a, b)
	a.send(b.self, 1)
	a.send(b.self, 1)
	w.settle(DefaultResetAfter - 10*time.Millisecond)
	a.wantResets(b)
	w.settle(20 * time.Millisecond)
	a.wantResets(b, CauseTimeout)
	if r := a.resets[b.self][0]; r.LastAcked != 1 || r.LastSent != 3 {
		t.Errorf("%+v; want LastAcked 1 and LastSent 3", r)
	}
	b.wantResets(a) // it had nothing to send, and has not heard of it
	clear(w.blocked)
	w.settle(tellLimit)
	b.wantResets(a, CausePeer)
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)
	if s := a.mesh.To(b.self).Stats(); s.FramesSent != 4 || s.Resets != 1 || s.Generation != 2 {
		t.Errorf("%+v", s)
	}
	a.wantResets(b, CauseTimeout)
	b.wantResets(a, CausePeer)
}

func TestBothEndsTimeOut(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	w.cut(a, b)
	a.send(b.self, 1)
	b.send(a.self, 1)
	w.settle(DefaultResetAfter + time.Second)
	clear(w.blocked)
	w.settle(tellLimit)
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)
	a.wantResets(b, CauseTimeout)
	b.wantResets(a, CauseTimeout)
}

func TestProgressPostponesTheReset(t *testing.T) {
	w, a, b := pair(t, Config{})
	for range 10 {
		sendBatches(a, b, 2)
		w.flying = w.flying[:1]
		w.exchange()
		w.cut(a, b)
		w.settle(20 * time.Second)
		clear(w.blocked)
		w.settle(time.Second)
	}
	w.expect(a, b, 20)
	a.wantResets(b)
}

func TestResetCanBeDisabled(t *testing.T) {
	w, a, b := pair(t, Config{ResetAfter: -1})
	w.cut(a, b)
	a.send(b.self, 1)
	w.settle(5 * time.Minute)
	clear(w.blocked)
	w.settle(time.Second)
	w.expect(a, b, 1)
	a.wantResets(b)
}

// node gives up.
// TestForgottenPeerThatCameBackStays: it is neither dropped nor evicted.
// mesh.
func TestRestartedPeerIsNoticedAtOnce(t *testing.T) {
	w, a, old := pair(t, Config{})
	talk(w, a, old)
	sendBatches(old, a, 1)
	late := w.flying[0]
	w.flying = nil
	b := w.start("b", 2)
	a.send(old.self, 1)
	w.exchange() // no time passes
	a.wantResets(old, CauseSuperseded)
	if err := a.mesh.To(old.self).Send(context.Background(), nil, nil); !errors.Is(err, ErrGone) {
		t.Errorf("Send to the old incarnation: %v; want ErrGone", err)
	}
	w.flying = append(w.flying, late)
	w.deliverFirst(1)
	if n := a.mesh.Stats().Rejected[RejectOldEpoch]; n != 1 {
		t.Errorf("%d datagrams of the old incarnation were rejected, want 1", n)
	}
	talk(w, a, b)
	w.expect(a, b, 1)
	w.expect(b, a, 1)
	if n := a.mesh.Stats().Links; n != 1 {
		t.Errorf("%d links are kept, want 1", n)
	}
}

func TestToALaterIncarnationEndsTheEarlier(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	l := a.mesh.To(b.self)
	a.mesh.To(wire.Incarnation{Node: "b", Epoch: 2})
	w.sleep(0)
	a.wantResets(b, CauseSuperseded)
	if err := l.SendControl(nil); !errors.Is(err, ErrGone) {
		t.Errorf("SendControl to the old incarnation: %v; want ErrGone", err)
	}
}

func TestOverflowOfControlFramesResets(t *testing.T) {
	w, a, b := pair(t, Config{WindowBytes: 4096, ControlBytes: 4096})
	talk(w, a, b)
	w.cut(a, b)
	n := 0
	for ; a.control(b.self, 100); n++ {
		if n > 100 {
			t.Fatal("control frames are not bounded")
		}
	}
	if n < 60 {
		t.Errorf("only %d control frames of 100 bytes were accepted", n)
	}
	w.sleep(0)
	a.wantResets(b, CauseOverflow)
	clear(w.blocked)
	w.settle(time.Second)
	b.wantResets(a, CausePeer)
	talk(w, a, b)
	w.expect(a, b, 1)
}

func TestPeersAreBounded(t *testing.T) {
	w := newWorld(t, Config{MaxPeers: 2})
	a := w.start("a", 1)
	var peers []*node
	for _, id := range []wire.NodeID{"p1", "p2", "p3"} {
		p := w.start(id, 1)
		p.send(a.self, 1)
		peers = append(peers, p)
		w.exchange()
	}
	if s := a.mesh.Stats(); s.Links != 2 || s.Rejected[RejectTooManyPeers] != 1 {
		t.Fatalf("%+v; want 2 links and 1 rejection", s)
	}
	a.mesh.Forget(peers[0].self) // makes room
	w.sleep(0)
	w.settle(DefaultMinRTO * 2)
	w.expect(peers[2], a, 1)
}

func TestForeignDatagramsAreRejected(t *testing.T) {
	w, a, b := pair(t, Config{})
	talk(w, a, b)
	in := (*inbox)(a.mesh)
	h := header{epoch: 1, to: 1, gen: 1, num: 1000}
	in.Datagram([]byte("not a datagram"))
	in.Datagram(appendHeader(nil, "a", &h))
	h.to = 2
	in.Datagram(appendHeader(nil, "b", &h))
	if len(a.ready) > 0 {
		t.Error("a datagram to a later incarnation of this node was answered")
	}
	for reason, want := range map[Rejection]uint64{RejectMalformed: 1, RejectOwn: 1, RejectOtherEpoch: 1} {
		if got := a.mesh.Stats().Rejected[reason]; got != want {
			t.Errorf("%d datagrams were rejected as %s, want %d", got, reason, want)
		}
	}
	b.wantResets(a)
}
