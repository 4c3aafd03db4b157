package hostile

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// inbox is the channel of a node.
func inbox(node string) string { return "bo:boreas:ch:{" + node + "}" }

// forgedSeries counts the datagrams that the gateway open has thrown away because of their
// signature.
const forgedSeries = `boreas_link_datagrams_rejected_total{reason="forged"}`

// batches are attacks by somebody who can publish to Redis, and listen, but has no
// key.
func batches() []attack {
	var list []attack
	for _, b := range []struct {
		name string
		// forge makes a datagram to the gateway open of a recorded one to it.
		forge func(recorded []byte) []byte
	}{
		{"nothing but a byte", func([]byte) []byte { return []byte{1} }},
		{"text", func([]byte) []byte { return []byte("hello, gateway") }},
		{"64 KiB of zeros", func([]byte) []byte { return make([]byte, 1<<16) }},
		{"1 MiB of noise", func([]byte) []byte { return bytes.Repeat([]byte{1, 0, 9, 0xff}, 1<<18) }},
		{"a batch without its tag", func(r []byte) []byte { return r[:len(r)-16] }},
		{"a batch with a tag of zeros", func(r []byte) []byte { return append(bytes.Clone(r[:len(r)-16]), make([]byte, 16)...) }},
		{"a batch with half a tag", func(r []byte) []byte { return r[:len(r)-8] }},
		{"a batch with a byte more", func(r []byte) []byte { return append(bytes.Clone(r), 0) }},
		{"a batch with a changed frame", func(r []byte) []byte { return flip(r, len(r)-17) }},
		{"a batch with a changed sender", func(r []byte) []byte { return flip(r, 3) }},
		{"a batch of another version", func(r []byte) []byte { return flip(r, 0) }},
		{"a batch with a changed tag", func(r []byte) []byte { return flip(r, len(r)-1) }},
		{"two batches in one", func(r []byte) []byte { return append(bytes.Clone(r), r...) }},
	} {
		list = append(list, attack{name: b.name, run: func(t *testing.T, w *world) {
			w.inject(t, "open", b.forge(w.record(t, "open")), forgedSeries)
		}})
	}
	return append(list,
		attack{name: "a batch to another node", run: func(t *testing.T, w *world) {
			w.inject(t, "open", w.record(t, "probe"), forgedSeries)
		}},
		attack{name: "a batch played again, 100 times", run: func(t *testing.T, w *world) {
			recorded := w.record(t, "open")
			for range 100 {
				w.publish(t, "open", recorded)
			}
			w.enter(t, w.open, 1).wantAlive() // the ward sees what is doubled
		}},
		attack{name: "a flood of 5,000 forged batches", run: func(t *testing.T, w *world) {
			before := w.metric(t, w.open, forgedSeries)
			pipe := w.redis.Client().Pipeline()
			for range 5000 {
				pipe.Publish(t.Context(), inbox("open"), strings.Repeat("x", 200))
			}
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.awaitMetric(t, w.open, forgedSeries, before+5000)
			w.enter(t, w.open, 1).wantAlive()
		}},
	)
}

// flip returns b with a changed byte.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x55
	return b
}

// record listens to what is published to a node and returns a batch. The ward's
// messages see to it that there is one.
func (w *world) record(t *testing.T, node string) []byte {
	t.Helper()
	sub := w.redis.Client().Subscribe(t.Context(), inbox(node))
	defer sub.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("nothing is published to %s: %v", node, err)
		}
		if len(m.Payload) > 60 {
			return []byte(m.Payload)
		}
	}
}

func (w *world) publish(t *testing.T, node string, payload []byte) {
	t.Helper()
	n, err := w.redis.Client().Publish(t.Context(), inbox(node), payload).Result()
	if err != nil || n == 0 {
		t.Fatalf("nobody listens at %s: %v", inbox(node), err)
	}
}

// inject publishes to a node and waits until the gateway open has counted it.
func (w *world) inject(t *testing.T, node string, payload []byte, series string) {
	t.Helper()
	before := w.metric(t, w.open, series)
	w.publish(t, node, payload)
	w.awaitMetric(t, w.open, series, before+1)
	w.enter(t, w.open, 1).wantAlive()
}
