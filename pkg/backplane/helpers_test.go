package backplane

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long the tests wait for what must happen.
const limit = 20 * time.Second

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quick makes deaths known soon.
func quick(t testing.TB) Config {
	return Config{
		LeaseTTL: 2 * time.Second, // the living must renew it, also on a busy machine
		Registry: registry.Config{Poll: 50 * time.Millisecond},
		Logger:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func open(t testing.TB, url string, cfg Config) *Backplane {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	b, err := Open(ctx, url, cfg)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

// pair opens two nodes on a server of their own.
func pair(t testing.TB) (srv *redistest.Server, gateway, instance *Backplane) {
	t.Helper()
	srv = redistest.Start(t, redistest.Config{})
	return srv, open(t, srv.URL(), quick(t)), open(t, srv.URL(), quick(t))
}

// crash ends a node as a kill -9 does: nobody is told.
func crash(b *Backplane) {
	b.stop()
	<-b.done
}

// frame is what a recorder got.
type frame struct {
	kind wire.Kind
	body string
}

// recorder is a StreamHandler that keeps everything.
type recorder struct {
	mu     sync.Mutex
	frames []frame
	resets []link.Reset
	stream *Stream // of an accepted one
	open   wire.Open
}

func (r *recorder) Frame(kind wire.Kind, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, frame{kind, string(body)})
}

func (r *recorder) Reset(reset link.Reset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resets = append(r.resets, reset)
}

func (r *recorder) got() []frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.frames)
}

func (r *recorder) resetCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.resets)
}

// await waits for n frames.
func (r *recorder) await(t testing.TB, n int) []frame {
	t.Helper()
	eventually(t, "frames arrived", func() bool { return len(r.got()) >= n })
	return r.got()
}

// server accepts streams with recorders.
type server struct {
	mu       sync.Mutex
	accepted []*recorder
}

func (s *server) accept(stream *Stream, o wire.Open) StreamHandler {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &recorder{stream: stream, open: o}
	s.accepted = append(s.accepted, r)
	return r
}

func (s *server) all() []*recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

func serve(t testing.TB, b *Backplane, service string) *server {
	t.Helper()
	s := new(server)
	stop, err := b.Serve(service, s.accept)
	must(t, err)
	t.Cleanup(stop)
	return s
}

// connect opens a stream and waits until it is accepted.
func connect(t testing.TB, from, to *Backplane, s *server, service string) (opener *recorder, out *Stream, acceptor *recorder) {
	t.Helper()
	n := len(s.all())
	opener = new(recorder)
	out = from.OpenStream(to.Self(), opener)
	must(t, out.SendOpen(context.Background(), wire.Open{Service: service, Socket: "s1"}))
	eventually(t, "accepted", func() bool { return len(s.all()) > n })
	return opener, out, s.all()[n]
}
