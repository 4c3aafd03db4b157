package redisbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestDatagramsArriveInOrder(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	const sources, datagrams = 10, 200
	var inboxes []*inbox
	var outboxes []*outbox
	for i := range sources {
		ch := b.Channel(wire.NodeID(fmt.Sprint("peer-", i)))
		in, _ := subscribe(t, b, ch)
		inboxes, outboxes = append(inboxes, in), append(outboxes, newOutbox(t, b, ch))
	}
	datagram := func(source, n int) string { return fmt.Sprintf("%d/%d:%s", source, n, strings.Repeat("x", n*17)) }
	for n := range datagrams {
		for i, o := range outboxes {
			o.send(datagram(i, n))
		}
	}
	for i, in := range inboxes {
		eventually(t, "all arrived", func() bool { return len(in.all()) == datagrams })
		for n, got := range in.all() {
			if got != datagram(i, n) {
				t.Fatalf("datagram %d of source %d is %.10q", n, i, got)
			}
		}
		eventually(t, "all outcomes are told", func() bool { return len(outboxes[i].done()) == datagrams })
		if n := slices.IndexFunc(outboxes[i].done(), func(n int64) bool { return n != 1 }); n >= 0 {
			t.Errorf("source %d: datagram %d went to %d receivers, want 1", i, n, outboxes[i].done()[n])
		}
	}
}

func TestLargeDatagramsAreCarriedWhole(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	ch := b.Channel("peer")
	in, _ := subscribe(t, b, ch)
	var want []string
	for _, n := range []int{1, 64 << 10, 64<<10 + 1, 256 << 10, b.MaxDatagram()} {
		want = append(want, strings.Repeat(string(rune('a'+len(want))), n))
	}
	// Several sources, so that their datagrams share pipelines and memory.
	for range 3 {
		newOutbox(t, b, ch).send(want...)
	}
	eventually(t, "all arrived", func() bool { return len(in.all()) == 3*len(want) })
	got := in.all()
	slices.Sort(got)
	for i, g := range got {
		if g != want[i/3] {
			t.Errorf("datagram %d: %d bytes of %q, want %d of %q", i, len(g), g[:1], len(want[i/3]), want[i/3][:1])
		}
	}
}

func TestNobodySubscribed(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	o := newOutbox(t, b, b.Channel("nobody"))
	o.send("lost")
	eventually(t, "published", func() bool { return len(o.done()) == 1 })
	if got := o.done()[0]; got != 0 {
		t.Errorf("receivers: got %d, want 0", got)
	}
}

func TestReceiversAreIndependent(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	one, sub := subscribe(t, b, "one")
	two, _ := subscribe(t, b, "two")
	if _, err := b.Subscribe("one", new(inbox)); err == nil {
		t.Error("a second receiver for a channel was accepted")
	}
	if one.gapCount() < 1 || two.gapCount() < 1 {
		t.Errorf("gaps: got %d and %d, want one at each first confirmation", one.gapCount(), two.gapCount())
	}
	sub.Close()
	o := newOutbox(t, b, "one")
	eventually(t, "Redis knows that the subscription is closed", func() bool {
		o.send("after the close")
		got := o.done()
		return len(got) > 0 && got[len(got)-1] == 0
	})
	if got := one.all(); len(got) != 0 {
		t.Errorf("a closed receiver got %q", got)
	}
	again, _ := subscribe(t, b, "one")
	o.send("hello again")
	eventually(t, "delivered to the new receiver", func() bool { return slices.Contains(again.all(), "hello again") })
	if len(one.all()) != 0 || len(two.all()) != 0 {
		t.Error("delivered to another receiver")
	}
}

func TestSubscribeAgainBeforeRedisNoticed(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	for range 20 {
		_, sub := subscribe(t, b, "ch")
		sub.Close()
	}
	in, _ := subscribe(t, b, "ch")
	o := newOutbox(t, b, "ch")
	eventually(t, "delivered", func() bool { o.send("x"); return len(in.all()) > 0 })
}

func TestPasswordTCPAndDatabase(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{TCP: true, Password: "s3cret"})
	b := start(t, calm(t, srv.TCPURL()+"/3"))
	in, _ := subscribe(t, b, b.Channel("n1"))
	newOutbox(t, b, b.Channel("n1")).send("hello")
	eventually(t, "delivered", func() bool { return slices.Equal(in.all(), []string{"hello"}) })
	for _, name := range []string{"boreas-n1-pub", "boreas-n1-sub"} {
		if list := srv.Client().ClientList(t.Context()).Val(); !strings.Contains(list, "name="+name) {
			t.Errorf("CLIENT LIST does not name %s:\n%s", name, list)
		}
	}
}

func TestConfigReportsAllProblems(t *testing.T) {
	_, err := New(Config{Node: "Not A Slug", Namespace: "neither/this", PingEvery: -1, SilenceLimit: 1})
	for _, want := range []string{"Topology", "Node", "Namespace", "PingEvery", "SilenceLimit"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}

func TestRunOnce(t *testing.T) {
	b := start(t, calm(t, server(t).URL()))
	subscribe(t, b, "ch") // Run has been called
	if err := b.Run(t.Context()); err == nil {
		t.Error("a second Run was accepted")
	}
}
