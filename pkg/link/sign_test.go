package link

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

var keyA, keyB, keyC = []byte("0123456789abcdef"), []byte("fedcba9876543210"), []byte("................")

func TestSign(t *testing.T) {
	s, old := newSigner(keyA, keyB), newSigner(keyB, nil)
	for _, n := range []int{0, 1, 100, 70000} {
		d := bytes.Repeat([]byte{7}, n)
		signed := s.sign(append([]byte("before"), d...), len("before"), "b")[len("before"):]
		if got, ok := s.verify(signed, "b"); !ok || !bytes.Equal(got, d) {
			t.Fatalf("a datagram of %d bytes does not pass", n)
		}
		if _, ok := s.verify(signed, "c"); ok {
			t.Error("a datagram for one node passes at another")
		}
		if _, ok := old.verify(signed, "b"); ok {
			t.Error("a datagram passes where its key is not known")
		}
		if _, ok := s.verify(old.sign(bytes.Clone(d), 0, "b"), "b"); !ok {
			t.Error("the old key is not accepted")
		}
		for i := 0; i < len(signed); i += 1 + len(signed)/50 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1
			if _, ok := s.verify(bad, "b"); ok {
				t.Fatalf("byte %d of %d may be changed", i, len(signed))
			}
		}
		for _, short := range [][]byte{nil, signed[:len(signed)-1], signed[1:], d} {
			if _, ok := s.verify(short, "b"); ok {
				t.Errorf("%d bytes of %d pass", len(short), len(signed))
			}
		}
	}
}

// TestSignTellsDatagramFromNode: the end of one cannot pass for the beginning of the
// other.
func TestSignTellsDatagramFromNode(t *testing.T) {
	s := newSigner(keyA, nil)
	signed := s.sign([]byte("datagram"), 0, "eu-gw")
	longer := slices.Concat([]byte("datagrameu-"), signed[len("datagram"):])
	if _, ok := s.verify(longer, "gw"); ok {
		t.Error("a datagram for eu-gw passes at gw, with eu- at its end")
	}
}

// TestForgedDatagrams gives a node what somebody sends who may publish, and has no
// key.
func TestForgedDatagrams(t *testing.T) {
	w, a, b := pair(t, Config{Key: keyA})
	talk(w, a, b)
	before := b.mesh.Stats().Rejected[RejectForged]
	forge := func(key []byte, to wire.NodeID) []byte {
		h := header{epoch: a.self.Epoch, to: b.self.Epoch, gen: 1, num: 100, last: 2, count: 1, first: 2, ack: 1}
		d := append(appendHeader(nil, a.self.Node, &h), 5, 'h', 'e', 'l', 'l', 'o')
		if _, err := open(d, &header{}); err != nil {
			t.Fatal(err)
		}
		if key != nil {
			d = newSigner(key, nil).sign(d, 0, to)
		}
		return d
	}
	attacks := [][]byte{forge(nil, ""), forge(keyC, "b"), forge(keyA, "c"), {}, bytes.Repeat([]byte{1}, tagSize)}
	for _, d := range attacks {
		(*inbox)(b.mesh).Datagram(d)
	}
	if got := b.mesh.Stats().Rejected[RejectForged] - before; got != uint64(len(attacks)) {
		t.Errorf("%d of %d forged datagrams were rejected", got, len(attacks))
	}
	talk(w, a, b)
	w.expect(a, b, 2)
	w.expect(b, a, 2)
	a.wantResets(b)
	b.wantResets(a)
}

// TestReplayedDatagrams delivers everything that was ever sent once more.
func TestReplayedDatagrams(t *testing.T) {
	w, a, b := pair(t, Config{Key: keyA})
	var recorded []flight
	for range 3 {
		a.send(b.self, 1)
		a.flush()
		recorded = append(recorded, w.flying...)
		w.exchange()
	}
	w.flying = append(w.flying, recorded...)
	w.settle(time.Second)
	w.expect(a, b, 3)
	w.checkPrefixes(a, b)
	later := w.start("b", 2)
	w.flying = append(w.flying, recorded...)
	w.settle(time.Second)
	if n := len(later.received); n != 0 {
		t.Errorf("a later incarnation took what was sent to an earlier one: %d", n)
	}
}

// TestReplayAfterForgetting plays recorded datagrams again when the link that they
// came on has long been dropped.
func TestReplayAfterForgetting(t *testing.T) {
	for name, drop := range map[string]func(w *world, b *node){
		"expired": func(w *world, _ *node) {
			for range (DefaultForgottenFor + time.Minute) / time.Second {
				w.sleep(time.Second)
			}
		},
		"evicted": func(w *world, b *node) {
			w.sleep(0)
			c := w.start("c", 1)
			c.send(b.self, 1)
			w.exchange()
			b.mesh.Forget(c.self)
			w.sleep(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{Key: keyA, MaxPeers: 1})
			earlier := w.start("a", 1)
			b := w.start("b", 1)
			var recorded []flight
			record := func(from *node) {
				for range 3 {
					from.send(b.self, 1)
					from.flush()
					recorded = append(recorded, w.flying...)
					w.exchange()
				}
			}
			record(earlier)
			a := w.start("a", 2)
			record(a)
			a.deaf = true
			b.mesh.Forget(a.self)
			drop(w, b)
			if b.mesh.peers[a.self.Node] != nil {
				t.Fatal("the link was not dropped")
			}
			before := b.delivered()
			for range 2 {
				w.flying = slices.Clone(recorded)
				w.exchange()
			}
			if n := b.delivered() - before; n != 0 {
				t.Errorf("%d recorded frames were taken again", n)
			}
			for _, r := range []Rejection{RejectOldEpoch, RejectOldGeneration} {
				if b.mesh.Stats().Rejected[r] == 0 {
					t.Errorf("nothing was rejected with the reason %s", r)
				}
			}
			a.deaf = false // the peer lives after all
			for range 2 {
				a.send(b.self, 1) // the first one may meet the reset
				w.settle(time.Minute)
			}
			if b.delivered() == before {
				t.Error("a peer that was forgotten is not heard again")
			}
		})
	}
}

// delivered is how many frames the handler has got.
func (n *node) delivered() (sum int) {
	for _, frames := range n.received {
		sum += len(frames)
	}
	return sum
}

// TestKeyRotation checks each pair of settings that meets while keys are replaced.
func TestKeyRotation(t *testing.T) {
	rounds := []Config{{Key: keyA}, {Key: keyA, OldKey: keyB}, {Key: keyB, OldKey: keyA}, {Key: keyB}}
	for i := range rounds[1:] {
		w := newWorld(t, rounds[i])
		a := w.start("a", 1)
		w.config = rounds[i+1]
		b := w.start("b", 1)
		talk(w, a, b)
		w.expect(a, b, 1)
		w.expect(b, a, 1)
		if n := len(a.mesh.Stats().Rejected) + len(b.mesh.Stats().Rejected); n > 0 {
			t.Errorf("round %d: %d reasons to reject", i+1, n)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := newSigner(keyA, keyB)
	f.Add([]byte{}, []byte{})
	f.Add(s.sign([]byte("datagram"), 0, "b"), []byte("x"))
	f.Fuzz(func(t *testing.T, b, d []byte) {
		if _, ok := s.verify(b, "elsewhere"); ok {
			t.Fatal("a forged datagram passes")
		}
		if got, ok := s.verify(s.sign(bytes.Clone(d), 0, "b"), "b"); !ok || !bytes.Equal(got, d) {
			t.Fatal("a signed datagram does not pass")
		}
	})
}

// BenchmarkSigned is what signing and checking cost a batch.
func BenchmarkSigned(b *testing.B) {
	s := newSigner(keyA, nil)
	buf := make([]byte, 0, 80<<10)
	for _, size := range []int{200, 60 << 10} {
		b.Run(map[int]string{200: "200B", 60 << 10: "60KiB"}[size], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, ok := s.verify(s.sign(buf[:size], 0, "b"), "b"); !ok {
					b.Fatal("not accepted")
				}
			}
		})
	}
}
