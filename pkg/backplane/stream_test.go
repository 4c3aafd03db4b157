package backplane

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// nodes runs a test between two nodes, and within one.
func nodes(t *testing.T, f func(t *testing.T, gateway, instance *Backplane)) {
	t.Run("over Redis", func(t *testing.T) {
		_, g, s := pair(t)
		f(t, g, s)
	})
	t.Run("within a node", func(t *testing.T) {
		b := open(t, redistest.Start(t, redistest.Config{}).URL(), quick(t))
		f(t, b, b)
	})
}

func TestLifeOfAStream(t *testing.T) {
	nodes(t, func(t *testing.T, g, s *Backplane) {
		ctx := t.Context()
		srv := serve(t, s, "chat")
		o := wire.Open{
			Service: "chat", Socket: "s1", Gateway: "public", RemoteAddr: "1.2.3.4:5", Path: "/ws", Query: "a=b",
			Credit: 7, Identity: []byte("me"), Headers: []wire.HeaderField{{Name: "X-A", Value: "b"}},
		}
		opener := new(recorder)
		out := g.OpenStream(s.Self(), opener)
		must(t, out.SendOpen(ctx, o))
		must(t, out.SendData(ctx, wire.Text, "", []byte("hello")))
		must(t, out.SendCredit(300))
		must(t, out.SendClose(wire.Close{Status: wire.CloseGoingAway, Reason: "bye", Source: wire.SourceClient, Finish: true}))
		eventually(t, "accepted", func() bool { return len(srv.all()) == 1 })
		in := srv.all()[0]
		if !reflect.DeepEqual(in.open, o) {
			t.Errorf("got %+v, want %+v", in.open, o)
		}
		if in.stream.Peer() != g.Self() || in.stream.ID() != out.ID() || out.Peer() != s.Self() {
			t.Errorf("stream %d from %v; want %d from %v", in.stream.ID(), in.stream.Peer(), out.ID(), g.Self())
		}
		frames := in.await(t, 3)
		data, err := wire.ParseData([]byte(frames[0].body))
		must(t, err)
		credit, err := wire.ParseCredit([]byte(frames[1].body))
		must(t, err)
		end, err := wire.ParseClose([]byte(frames[2].body))
		must(t, err)
		if string(data.Payload) != "hello" || data.Type != wire.Text || credit.Bytes != 300 || end.Reason != "bye" || !end.Finish {
			t.Errorf("got %+v %+v %+v", data, credit, end)
		}

		must(t, in.stream.SendData(ctx, wire.Binary, "id-1", []byte("reply")))
		must(t, in.stream.SendRelease())
		must(t, in.stream.SendClose(wire.Close{Status: wire.CloseNormal}))
		must(t, in.stream.SendClosed())
		frames = opener.await(t, 4)
		data, err = wire.ParseData([]byte(frames[0].body))
		must(t, err)
		if string(data.Payload) != "reply" || data.ID != "id-1" || data.Type != wire.Binary {
			t.Errorf("got %+v", data)
		}
		for i, want := range []wire.Kind{wire.KindData, wire.KindRelease, wire.KindClose, wire.KindClosed} {
			if frames[i].kind != want {
				t.Errorf("frame %d: kind %d, want %d", i, frames[i].kind, want)
			}
		}
		if len(opener.got()) != 4 || len(in.got()) != 3 || opener.resetCount()+in.resetCount() != 0 {
			t.Errorf("more came than was sent: %v %v", opener.got(), in.got())
		}
	})
}

func TestStreamsAreApart(t *testing.T) {
	_, a, b := pair(t)
	// Both nodes open streams, so that their numbers collide on purpose.
	atA, atB := serve(t, a, "one"), serve(t, b, "two")
	const streams, messages = 20, 50
	var wg sync.WaitGroup
	openers := map[*recorder]string{}
	for i := range streams {
		for _, way := range []struct {
			from, to *Backplane
			service  string
		}{{a, b, "two"}, {b, a, "one"}} {
			r := new(recorder)
			s := way.from.OpenStream(way.to.Self(), r)
			name := fmt.Sprintf("%s/%d", way.service, i)
			openers[r] = name
			wg.Go(func() {
				must(t, s.SendOpen(context.Background(), wire.Open{Service: way.service, Socket: wire.SocketID(name)}))
				for n := range messages {
					must(t, s.SendData(context.Background(), wire.Text, "", fmt.Appendf(nil, "%s:%d", name, n)))
				}
			})
		}
	}
	wg.Wait()
	for _, srv := range []*server{atA, atB} {
		eventually(t, "accepted", func() bool { return len(srv.all()) == streams })
		for _, in := range srv.all() {
			for n, f := range in.await(t, messages) {
				d, err := wire.ParseData([]byte(f.body))
				must(t, err)
				if want := fmt.Sprintf("%s:%d", in.open.Socket, n); string(d.Payload) != want {
					t.Fatalf("got %q, want %q", d.Payload, want)
				}
			}
			must(t, in.stream.SendData(context.Background(), wire.Text, "", []byte(in.open.Socket)))
		}
	}
	for r, name := range openers {
		d, err := wire.ParseData([]byte(r.await(t, 1)[0].body))
		must(t, err)
		if string(d.Payload) != name {
			t.Errorf("stream of %s got the reply for %s", name, d.Payload)
		}
	}
}

func TestServe(t *testing.T) {
	var dropped drops
	srv := redistest.Start(t, redistest.Config{})
	g := open(t, srv.URL(), quick(t))
	cfg := quick(t)
	cfg.Hooks.Dropped = dropped.add
	s := open(t, srv.URL(), cfg)
	refusal := func(service string) wire.Refuse {
		t.Helper()
		r := new(recorder)
		out := g.OpenStream(s.Self(), r)
		must(t, out.SendOpen(t.Context(), wire.Open{Service: service}))
		f := r.await(t, 1)[0]
		if f.kind != wire.KindRefuse {
			t.Fatalf("got kind %d, want a Refuse", f.kind)
		}
		refuse, err := wire.ParseRefuse([]byte(f.body))
		must(t, err)
		return refuse
	}
	if r := refusal("unknown"); r.Code != wire.CodeUnavailable || r.Reason == "" {
		t.Errorf("got %+v", r)
	}
	if dropped.count(DropUnknownService) != 1 {
		t.Errorf("dropped %v, want one %s", dropped.got, DropUnknownService)
	}

	stop, err := s.Serve("chat", func(s *Stream, _ wire.Open) StreamHandler {
		must(t, s.SendRefuse(wire.Refuse{Code: wire.CodeRateLimited, Reason: "full"}))
		return nil
	})
	must(t, err)
	if r := refusal("chat"); r.Code != wire.CodeRateLimited || r.Reason != "full" {
		t.Errorf("got %+v", r)
	}
	eventually(t, "the stream that was not accepted is forgotten", func() bool {
		p := s.demux.peer(g.Self())
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.accepted) == 0
	})
	if _, err := s.Serve("chat", new(server).accept); err == nil {
		t.Error("a service was served twice")
	}
	if _, err := s.Serve("Not A Slug", new(server).accept); err == nil {
		t.Error("a bad name was accepted")
	}
	stop()
	if r := refusal("chat"); r.Code != wire.CodeUnavailable {
		t.Errorf("after stop: got %+v", r)
	}
	chat := serve(t, s, "chat")
	stop() // of the first: no effect any more
	connect(t, g, s, chat, "chat")
}

// drops counts dropped frames.
type drops struct {
	mu  sync.Mutex
	got map[Drop]int
}

func (d *drops) add(why Drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.got == nil {
		d.got = map[Drop]int{}
	}
	d.got[why]++
}

func (d *drops) count(why Drop) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got[why]
}

func TestFramesWithoutAStreamAreDropped(t *testing.T) {
	var dropped drops
	srv := redistest.Start(t, redistest.Config{})
	g := open(t, srv.URL(), quick(t))
	cfg := quick(t)
	cfg.Hooks.Dropped = dropped.add
	s := open(t, srv.URL(), cfg)
	chat := serve(t, s, "chat")
	_, out, in := connect(t, g, s, chat, "chat")
	in.stream.Done()
	must(t, out.SendData(t.Context(), wire.Text, "", []byte("too late")))
	eventually(t, "dropped", func() bool { return dropped.count(DropUnknownStream) == 1 })
	if len(in.got()) != 0 {
		t.Error("a stream that is done got a frame")
	}

	_, out, in = connect(t, g, s, chat, "chat")
	must(t, out.SendOpen(t.Context(), wire.Open{Service: "chat"}))
	eventually(t, "dropped", func() bool { return dropped.count(DropDuplicate) == 1 })

	raw := g.Mesh().To(s.Self())
	for _, frame := range [][]byte{
		{},
		{99, 1},
		wire.Header{Kind: wire.KindClosed, Stream: out.ID()}.Append(nil),                  // an opener never says so
		wire.Header{Kind: wire.KindOpen, Stream: 7, FromAcceptor: true}.Append(nil),       // nor an acceptor this
		append(wire.Header{Kind: wire.KindOpen, Stream: 7}.Append(nil), "not an Open"...), // nor anybody this
	} {
		must(t, raw.Send(t.Context(), frame, nil))
	}
	eventually(t, "dropped", func() bool { return dropped.count(DropMalformed) == 5 })
	must(t, out.SendData(t.Context(), wire.Text, "", []byte("still here")))
	if f := in.await(t, 1); len(f) != 1 || f[0].kind != wire.KindData {
		t.Errorf("got %v", f)
	}
}

// sink is a StreamHandler that only counts.
type sink struct{ n atomic.Int64 }

func (s *sink) Frame(wire.Kind, []byte) { s.n.Add(1) }
func (s *sink) Reset(link.Reset)        {}

func TestSendDataDoesNotAllocate(t *testing.T) {
	_, g, s := pair(t)
	got := new(sink)
	stop, err := s.Serve("chat", func(*Stream, wire.Open) StreamHandler { return got })
	must(t, err)
	defer stop()
	out := g.OpenStream(s.Self(), new(sink))
	must(t, out.SendOpen(t.Context(), wire.Open{Service: "chat"}))
	payload := make([]byte, 128)
	ctx := t.Context()
	send := func() {
		if err := out.SendData(ctx, wire.Text, "some-request-id", payload); err != nil {
			t.Error(err)
		}
	}
	for range 5000 {
		send() // the link's buffers grow to their size
	}
	// What else runs in this process allocates a little per batch.
	if n := testing.AllocsPerRun(5000, send); n >= 1 {
		t.Errorf("SendData allocates %v times", n)
	}
	eventually(t, "all arrived", func() bool { return got.n.Load() == 10001 })
}

func TestDispatchDoesNotAllocate(t *testing.T) {
	d := newDemux(func(why Drop) { t.Errorf("dropped: %s", why) })
	d.link = func(wire.Incarnation) *link.Link { return nil }
	inc := wire.Incarnation{Node: "peer", Epoch: 5}
	got := new(sink)
	s := d.openStream(inc, 7, got)
	frame := append(wire.Header{Kind: wire.KindData, FromAcceptor: true, Stream: s.ID()}.Append(nil), "data"...)
	if n := testing.AllocsPerRun(100, func() { d.Frame(inc, frame) }); n != 0 {
		t.Errorf("Frame allocates %v times", n)
	}
	if got.n.Load() == 0 {
		t.Error("nothing was dispatched")
	}
}

func TestSendGivesUpWithItsContext(t *testing.T) {
	srv, g, s := pair(t)
	out := g.OpenStream(s.Self(), new(recorder))
	must(t, srv.Kill())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client left")
	go func() {
		eventually(t, "a Send waits", func() bool { return g.Mesh().To(s.Self()).Stats().Waiting > 0 })
		cancel(why)
	}()
	var err error
	for err == nil {
		err = out.SendData(ctx, wire.Text, "", make([]byte, 64<<10))
	}
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	must(t, out.SendCredit(1)) // control frames go on
}
