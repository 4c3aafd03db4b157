package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// join makes g a gateway with a pin at s, an instance of "chat".
func join(t *testing.T, g, s *Backplane) {
	t.Helper()
	ctx := t.Context()
	must(t, s.Registry().Announce(ctx, registry.Service{Name: "chat", Routes: []registry.Route{{Pattern: "/a", Canonical: "/a"}}}))
	must(t, g.Registry().JoinGateway(ctx, "public"))
	eventually(t, "the gateway knows the service", func() bool { return g.Registry().View().Has(s.Self()) })
	pin, err := g.Registry().Pin(ctx, "chat", "s1")
	must(t, err)
	if pin != s.Self() {
		t.Fatalf("pinned to %v, want %v", pin, s.Self())
	}
	eventually(t, "the instance knows the gateway", func() bool { return s.Registry().View().Has(g.Self()) })
}

// wantReset waits for the one reset of a stream, after which nothing can be sent.
func wantReset(t *testing.T, r *recorder, s *Stream, cause link.Cause) {
	t.Helper()
	eventually(t, "the stream was reset", func() bool { return r.resetCount() > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.resets) != 1 || r.resets[0].Cause != cause {
		t.Errorf("resets %+v, want one because of %v", r.resets, cause)
	}
	ctx := context.Background()
	for name, err := range map[string]error{
		"SendOpen":    s.SendOpen(ctx, wire.Open{Service: "chat"}),
		"SendData":    s.SendData(ctx, wire.Text, "", []byte("x")),
		"SendCredit":  s.SendCredit(1),
		"SendClose":   s.SendClose(wire.Close{}),
		"SendClosed":  s.SendClosed(),
		"SendRelease": s.SendRelease(),
		"SendRefuse":  s.SendRefuse(wire.Refuse{}),
	} {
		if !errors.Is(err, link.ErrReset) {
			t.Errorf("%s after the reset: got %v, want ErrReset", name, err)
		}
	}
}

func TestInstanceDies(t *testing.T) {
	_, g, s := pair(t)
	join(t, g, s)
	r, out, _ := connect(t, g, s, serve(t, s, "chat"), "chat")
	crash(s)
	wantReset(t, r, out, link.CauseForgotten)
}

func TestGatewayDies(t *testing.T) {
	_, g, s := pair(t)
	join(t, g, s)
	_, _, in := connect(t, g, s, serve(t, s, "chat"), "chat")
	crash(g)
	wantReset(t, in, in.stream, link.CauseForgotten)
}

func TestNodeStartsAgain(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	g := open(t, srv.URL(), quick(t))
	cfg := quick(t)
	cfg.NodeID = "instance"
	s := open(t, srv.URL(), cfg)
	r, out, _ := connect(t, g, s, serve(t, s, "chat"), "chat")
	crash(s)
	again := open(t, srv.URL(), cfg)
	if again.Self().Node != s.Self().Node || again.Self().Epoch <= s.Self().Epoch {
		t.Errorf("%v follows %v", again.Self(), s.Self())
	}
	_, _, in := connect(t, g, again, serve(t, again, "chat"), "chat")
	wantReset(t, r, out, link.CauseSuperseded)
	if in.resetCount() != 0 {
		t.Error("the stream to the new incarnation was reset")
	}
}

// TestLinkBreaks: both ends of a broken link reset their streams, and new streams
// take their place.
func TestLinkBreaks(t *testing.T) {
	_, g, s := pair(t)
	atG, atS := serve(t, g, "push"), serve(t, s, "chat")
	r1, out1, in1 := connect(t, g, s, atS, "chat")
	r2, out2, in2 := connect(t, s, g, atG, "push")
	gone := new(recorder)
	g.OpenStream(s.Self(), gone).Done()
	g.Mesh().Forget(s.Self())
	wantReset(t, r1, out1, link.CauseForgotten)
	wantReset(t, in2, in2.stream, link.CauseForgotten)
	wantReset(t, in1, in1.stream, link.CausePeer)
	wantReset(t, r2, out2, link.CausePeer)
	if gone.resetCount() != 0 {
		t.Error("a stream that was done before was told of the reset")
	}
	_, out, in := connect(t, g, s, atS, "chat")
	must(t, out.SendData(t.Context(), wire.Text, "", []byte("again")))
	in.await(t, 1)
}

// TestOpenMeetsReset: the reset comes between SendOpen's look at the stream and the
// link, which accepts the Open in its new generation.
func TestOpenMeetsReset(t *testing.T) {
	_, g, s := pair(t)
	chat := serve(t, s, "chat")
	r := new(recorder)
	out := g.OpenStream(s.Self(), r)
	g.demux.Reset(s.Self(), link.Reset{Cause: link.CauseTimeout})
	must(t, out.link.Send(t.Context(), wire.Open{Service: "chat"}.Append(out.head(nil, wire.KindOpen)), nil))
	if err := out.opened(); !errors.Is(err, link.ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
	eventually(t, "accepted", func() bool { return len(chat.all()) == 1 })
	if f := chat.all()[0].await(t, 1)[0]; f.kind != wire.KindClose {
		t.Errorf("got kind %d, want a Close", f.kind)
	}
	wantReset(t, r, out, link.CauseTimeout)
}

// TestOpenStreamMeetsReset: the tables of a peer that was reset take no more streams.
func TestOpenStreamMeetsReset(t *testing.T) {
	d := newDemux(func(Drop) {})
	d.link = func(wire.Incarnation) *link.Link { return nil }
	inc := wire.Incarnation{Node: "peer", Epoch: 5}
	before := d.peer(inc)
	d.Reset(inc, link.Reset{})
	if before.add(&Stream{id: 1}) {
		t.Error("a stream was added where no frame will look for it")
	}
	s := d.openStream(inc, 1, new(sink))
	if d.peer(inc).get(1, false) != s {
		t.Error("a new stream cannot be found")
	}
}

// TestStreamsAcrossResets: whatever is under way when links break, each stream is
// known to both ends afterwards, or to none.
func TestStreamsAcrossResets(t *testing.T) {
	_, g, s := pair(t)
	srv := serve(t, s, "chat")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	live := map[wire.StreamID]*recorder{}
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r := new(recorder)
				out := g.OpenStream(s.Self(), r)
				if err := out.SendOpen(ctx, wire.Open{Service: "chat", Socket: wire.SocketID(fmt.Sprint(i, "-", n))}); err != nil {
					out.Done()
					continue
				}
				mu.Lock()
				live[out.ID()] = r
				mu.Unlock()
			}
		})
	}
	for range 20 {
		before := len(srv.all())
		eventually(t, "streams were accepted", func() bool { return len(srv.all()) > before+20 })
		g.Mesh().Forget(s.Self())
	}
	cancel()
	wg.Wait()
	must(t, g.Mesh().Flush(t.Context()))
	eventually(t, "both ends agree", func() bool {
		mu.Lock()
		defer mu.Unlock()
		open := 0
		for _, r := range live {
			if r.resetCount() == 0 {
				open++
			}
		}
		for _, in := range srv.all() {
			ended := in.resetCount() > 0 || len(in.got()) > 0 // reset, or closed by a SendOpen that met one
			if !ended {
				if r := live[in.stream.ID()]; r == nil || r.resetCount() > 0 {
					return false
				}
				open--
			}
		}
		return open == 0
	})
}
