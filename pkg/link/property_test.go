package link

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// small windows and batches make the interesting cases frequent.
func smallConfig(t *rapid.T) Config {
	return Config{
		WindowFrames:  rapid.IntRange(1, 40).Draw(t, "window frames"),
		WindowBytes:   rapid.IntRange(4096, 16384).Draw(t, "window bytes"),
		ControlBytes:  rapid.IntRange(1, 8192).Draw(t, "control bytes"),
		MaxBatchBytes: rapid.IntRange(2*maxHeader, 3000).Draw(t, "batch bytes"),
	}
}

// history applies random events to nodes a and b. Without resets, nothing is
// done that may break a link.
func history(t *rapid.T, w *world, resets bool) {
	w.start("a", 1)
	w.start("b", 1)
	either := func() (*node, *node) {
		if rapid.Bool().Draw(t, "b") {
			return w.nodes["b"], w.nodes["a"]
		}
		return w.nodes["a"], w.nodes["b"]
	}
	slept := time.Duration(0)
	actions := map[string]func(*rapid.T){
		"send": func(t *rapid.T) {
			from, to := either()
			for range rapid.IntRange(1, 20).Draw(t, "frames") {
				from.send(to.self, rapid.IntRange(0, 2000).Draw(t, "size"))
			}
		},
		"control": func(t *rapid.T) {
			from, to := either()
			if l := from.mesh.To(to.self); resets || !l.snd.overflows(500) {
				from.control(to.self, rapid.IntRange(0, 400).Draw(t, "size"))
			}
		},
		"flush":       func(*rapid.T) { n, _ := either(); n.flush() },
		"deliver":     func(*rapid.T) { w.deliverFirst(1) },
		"deliver all": func(*rapid.T) { w.deliverFirst(len(w.flying)) },
		"overtake":    func(t *rapid.T) { w.pick(t, func(i int) { w.deliver(i, false) }) },
		"repeat":      func(t *rapid.T) { w.pick(t, func(i int) { w.deliver(i, true) }) },
		"lose": func(t *rapid.T) {
			w.pick(t, func(i int) { w.flying = append(w.flying[:i:i], w.flying[i+1:]...) })
		},
		"sleep": func(t *rapid.T) {
			d := time.Duration(rapid.IntRange(1, 200).Draw(t, "ms")) * time.Millisecond
			if slept += d; slept < 20*time.Second || resets {
				w.sleep(d)
			}
		},
		"partition": func(t *rapid.T) {
			from, to := either()
			w.blocked[[2]wire.NodeID{from.self.Node, to.self.Node}] = rapid.Bool().Draw(t, "blocked")
		},
		"subscription": func(*rapid.T) {
			n, _ := either()
			if n.deaf = !n.deaf; !n.deaf {
				(*inbox)(n.mesh).Gap()
			}
		},
		"hide receivers": func(t *rapid.T) {
			known := rapid.Bool().Draw(t, "known")
			w.truth = func() bool { return known }
		},
		"": func(*rapid.T) { w.checkAll() },
	}
	if resets {
		actions["long silence"] = func(t *rapid.T) {
			w.sleep(time.Duration(rapid.IntRange(1, 40).Draw(t, "s")) * time.Second)
		}
		actions["forget"] = func(*rapid.T) { n, peer := either(); n.mesh.Forget(peer.self) }
		actions["restart"] = func(*rapid.T) { n, _ := either(); w.start(n.self.Node, n.self.Epoch+1) }
		actions["send to the dead"] = func(*rapid.T) {
			from, to := either()
			if old := (wire.Incarnation{Node: to.self.Node, Epoch: to.self.Epoch - 1}); old.Epoch > 0 {
				from.send(old, 1)
			}
		}
	}
	t.Repeat(actions)
}

func (w *world) deliverFirst(n int) {
	for range min(n, len(w.flying)) {
		w.deliver(0, false)
	}
}

func (w *world) pick(t *rapid.T, f func(i int)) {
	if len(w.flying) > 0 {
		f(rapid.IntRange(0, len(w.flying)-1).Draw(t, "datagram"))
	}
}

// heal ends all faults and lets the nodes talk.
func (w *world) heal() {
	clear(w.blocked)
	w.truth = func() bool { return true }
	for _, n := range w.nodes {
		if n.deaf {
			n.deaf = false
			(*inbox)(n.mesh).Gap()
		}
	}
	w.settle(12 * time.Second) // longer than tellLimit
}

// TestExactlyOnceInOrder: whatever the network does for less than ResetAfter,
// every frame arrives once and in order, and no link is reset.
func TestExactlyOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, smallConfig(rt))
		w.fatal = rt.Fatalf
		history(rt, w, false)
		w.heal()
		w.checkAll()
		a, b := w.nodes["a"], w.nodes["b"]
		w.checkComplete(a, b)
		w.checkComplete(b, a)
		if len(a.resets)+len(b.resets) > 0 {
			rt.Fatalf("resets: %v, %v", a.resets, b.resets)
		}
	})
}

// TestResetsAreSeenByBoth: with silence beyond ResetAfter, Forget, overflow and
// restarts, every generation delivers a gap-free prefix that holds at least what
// was acknowledged, both ends are told of its end and end up in the same
// generation, in which everything arrives.
func TestResetsAreSeenByBoth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, smallConfig(rt))
		w.fatal = rt.Fatalf
		history(rt, w, true)
		w.heal()
		a, b := w.nodes["a"], w.nodes["b"]
		for range 2 {
			w.checkAll()
			w.checkComplete(a, b)
			w.checkComplete(b, a)
			ours, theirs := a.mesh.To(b.self), b.mesh.To(a.self)
			if ours.gen != theirs.gen && (ours.touched() || theirs.touched()) {
				rt.Fatalf("generations differ: %d, %d", ours.gen, theirs.gen)
			}
			if !a.send(b.self, 10) || !b.send(a.self, 10) {
				rt.Fatal("a healed link refuses frames")
			}
			w.settle(time.Second)
		}
	})
}
