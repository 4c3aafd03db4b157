package redisbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// losses collects why subscriptions were lost.
type losses struct {
	mu  sync.Mutex
	got []Loss
}

func (l *losses) add(why Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, why)
}

func (l *losses) has(why Loss) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.got, why)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// talk publishes until something new arrives, as a link would retransmit.
func talk(t *testing.T, o *outbox, in *inbox) {
	t.Helper()
	before := len(in.all())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for n := 0; len(in.all()) == before; n++ {
		o.send(fmt.Sprint("again ", n))
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the bus carries nothing any more")
		}
	}
}

func TestKillAndRestart(t *testing.T) {
	srv := server(t)
	var lost losses
	cfg := quick(t, srv.URL())
	cfg.Hooks.SubscriptionLost = lost.add
	b := start(t, cfg)
	in, _ := subscribe(t, b, "ch")
	o := newOutbox(t, b, "ch")
	talk(t, o, in)
	fastest := limit
	for range 3 {
		must(t, srv.Kill())
		o.send("into the void")
		eventually(t, "unhealthy", func() bool { return !b.Healthy() })
		gaps := in.gapCount()
		must(t, srv.Restart())
		back := time.Now()
		eventually(t, "a gap was told", func() bool { return in.gapCount() > gaps })
		talk(t, o, in)
		eventually(t, "healthy", b.Healthy)
		fastest = min(fastest, time.Since(back))
	}
	// Both loops wait 200 ms at most; the rest is room for a busy machine.
	if fastest > 3*time.Second {
		t.Errorf("carrying again took %v at best", fastest)
	}
	if !lost.has(LossError) {
		t.Errorf("losses %v, want %q", lost.got, LossError)
	}
}

func TestFailureIsTold(t *testing.T) {
	srv := server(t)
	cfg := calm(t, srv.URL())
	cfg.CanaryEvery, cfg.SilenceLimit = time.Minute, time.Hour // nobody else publishes
	b := start(t, cfg)
	subscribe(t, b, "ch")
	o := newOutbox(t, b, "ch")
	o.send("x")
	eventually(t, "published", func() bool { return slices.Equal(o.done(), []int64{1}) })
	must(t, srv.Kill())
	o.send("y")
	eventually(t, "the failure is told", func() bool { return slices.Equal(o.done(), []int64{1, -1}) })
	if o.errs != 1 {
		t.Errorf("%d errors, want 1", o.errs)
	}
}

func TestStartsBeforeRedis(t *testing.T) {
	srv := server(t)
	must(t, srv.Kill())
	cfg := quick(t, srv.URL())
	var failed atomic.Int64
	cfg.Hooks.PublishFailed = func(n int) { failed.Add(int64(n)) }
	b := start(t, cfg)
	in := new(inbox)
	sub, err := b.Subscribe("ch", in)
	must(t, err)
	o := newOutbox(t, b, "ch")
	o.retry = true
	o.send("first")
	eventually(t, "publishing failed", func() bool { return failed.Load() > 0 })
	must(t, srv.Restart())
	wait(t, "subscribed", sub.Ready())
	talk(t, o, in)
	eventually(t, "healthy", b.Healthy)
}

func TestClientKill(t *testing.T) {
	srv := server(t)
	b := start(t, calm(t, srv.URL()))
	in, _ := subscribe(t, b, "ch")
	o := newOutbox(t, b, "ch")
	o.retry = true
	for _, kind := range []string{"pubsub", "normal"} {
		talk(t, o, in)
		gaps := in.gapCount()
		killed := srv.Client().ClientKillByFilter(t.Context(), "TYPE", kind, "SKIPME", "yes").Val()
		if killed != 1 {
			t.Errorf("%s: killed %d connections, want 1: one writer and one reader", kind, killed)
		}
		if kind == "pubsub" {
			eventually(t, "a gap was told", func() bool { return in.gapCount() > gaps })
		}
		talk(t, o, in)
	}
}

func TestShortPauseLosesNothing(t *testing.T) {
	srv := server(t)
	var lost losses
	cfg := calm(t, srv.URL())
	cfg.Hooks.SubscriptionLost = lost.add
	b := start(t, cfg)
	in, _ := subscribe(t, b, "ch")
	gaps := in.gapCount()
	o := newOutbox(t, b, "ch")
	must(t, srv.Client().Do(t.Context(), "client", "pause", "300", "all").Err())
	var want []string
	for n := range 100 {
		want = append(want, fmt.Sprint(n))
	}
	o.send(want...)
	eventually(t, "all arrived", func() bool { return len(in.all()) == len(want) })
	if !slices.Equal(in.all(), want) || o.errs != 0 || in.gapCount() != gaps || len(lost.got) != 0 {
		t.Errorf("got %d datagrams, %d errors, %d gaps, losses %v; want %d in order and nothing else",
			len(in.all()), o.errs, in.gapCount()-gaps, lost.got, len(want))
	}
}

func TestFrozenServer(t *testing.T) {
	srv := server(t)
	var lost losses
	cfg := quick(t, srv.URL())
	cfg.Hooks.SubscriptionLost = lost.add
	b := start(t, cfg)
	in, _ := subscribe(t, b, "ch")
	o := newOutbox(t, b, "ch")
	o.retry = true
	talk(t, o, in)
	must(t, srv.Stop())
	o.send("frozen")
	eventually(t, "the silence is noticed", func() bool { return lost.has(LossSilent) })
	eventually(t, "unhealthy", func() bool { return !b.Healthy() })
	gaps := in.gapCount()
	must(t, srv.Cont())
	eventually(t, "a gap was told", func() bool { return in.gapCount() > gaps })
	talk(t, o, in)
	eventually(t, "healthy", b.Healthy)
}

func TestRunEndsWhileTheServerIsFrozen(t *testing.T) {
	srv := server(t)
	cfg := calm(t, srv.URL()) // neither watchdog nor timeout helps
	b, err := New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	subscribe(t, b, "ch")
	must(t, srv.Stop())
	newOutbox(t, b, "ch").send("frozen")
	cancel()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(limit):
		t.Error("Run waits for a frozen server")
		must(t, srv.Cont())
		<-ended
	}
}

func TestCanaryNoticesTwoServers(t *testing.T) {
	one, two := server(t), server(t)
	var lost losses
	cfg := quick(t, one.URL())
	cfg.Hooks.SubscriptionLost = lost.add
	b, err := New(cfg)
	must(t, err)
	if b.CanaryAge() != never || b.Healthy() {
		t.Error("healthy before anything came back")
	}
	other := parse(t, two.URL())
	b.carrier.(*lane).sub.to = remote{Topology: other, dial: other.dial} // as after a failover that moved one connection only
	run(t, b)
	in, _ := subscribe(t, b, "ch")
	gaps := in.gapCount()
	eventually(t, "the canary is missed", func() bool { return lost.has(LossCanary) })
	eventually(t, "subscribed again", func() bool { return in.gapCount() > gaps })
	if b.Healthy() {
		t.Error("healthy although the halves reach different servers")
	}
}

// switchboard connects each caller to the server that choose picks, and returns its
// own address. choose gets the number of calls before.
func switchboard(t *testing.T, choose func(n int) *redistest.Server) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var calls sync.WaitGroup
	calls.Go(func() {
		for n := 0; ; n++ {
			caller, err := l.Accept()
			if err != nil {
				return
			}
			callee, err := net.Dial("unix", parse(t, choose(n).URL()).addr)
			if err != nil {
				t.Error(err)
				return
			}
			for _, way := range [][2]net.Conn{{caller, callee}, {callee, caller}} {
				calls.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = caller.Close(), callee.Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); calls.Wait() })
	return "redis://" + l.Addr().String()
}

// TestCanaryReplacesTheWriter: the writer is connected to a server that was demoted,
// and finds the right one when it connects again.
func TestCanaryReplacesTheWriter(t *testing.T) {
	right, wrong := server(t), server(t)
	via := switchboard(t, func(n int) *redistest.Server {
		if n == 0 {
			return wrong
		}
		return right
	})
	var lost losses
	cfg := quick(t, right.URL())
	cfg.Hooks.SubscriptionLost = lost.add
	b, err := New(cfg)
	must(t, err)
	top := parse(t, via)
	b.carrier.(*lane).pub.to = remote{Topology: top, dial: top.dial}
	run(t, b)
	subscribe(t, b, "ch")
	eventually(t, "the canary is missed", func() bool { return lost.has(LossCanary) })
	eventually(t, "healthy", b.Healthy)
}

// doorman accepts connections, closes them at once, and counts them.
func doorman(t *testing.T) (url string, count *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	count = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "redis://" + l.Addr().String(), count
}

func TestBacksOff(t *testing.T) {
	url, count := doorman(t)
	b := start(t, quick(t, url))
	o := newOutbox(t, b, "ch")
	o.retry = true
	begin := time.Now()
	o.send("x")
	// Two loops, 100 to 200 ms apart after the first few attempts: about 35 in 2 s.
	eventually(t, "it tried for two seconds", func() bool { return time.Since(begin) > 2*time.Second && count.Load() >= 10 })
	n := count.Load()
	if took := time.Since(begin); float64(n) > 30*took.Seconds() {
		t.Errorf("%d connections in %v, want about 35 in 2 s", n, took)
	}
}

func TestHooks(t *testing.T) {
	srv := server(t)
	var published, bytes, failed, subscribed, canaries atomic.Int64
	cfg := calm(t, srv.URL())
	cfg.CanaryEvery = 100 * time.Millisecond
	cfg.Hooks = Hooks{
		Published: func(datagrams, n int, took time.Duration) {
			published.Add(int64(datagrams))
			bytes.Add(int64(n))
			if took <= 0 {
				t.Errorf("took %v", took)
			}
		},
		PublishFailed: func(n int) { failed.Add(int64(n)) },
		Subscribed:    func() { subscribed.Add(1) },
		Canary: func(rtt time.Duration) {
			canaries.Add(1)
			if rtt <= 0 || rtt > limit {
				t.Errorf("canary took %v", rtt)
			}
		},
	}
	b := start(t, cfg)
	wait(t, "proven", b.Proven())
	if !b.Healthy() {
		t.Error("proven and not healthy")
	}
	in, _ := subscribe(t, b, "ch")
	newOutbox(t, b, "ch").send("12345", "67890")
	eventually(t, "delivered", func() bool { return len(in.all()) == 2 })
	eventually(t, "a canary came back", func() bool { return canaries.Load() > 0 })
	eventually(t, "published", func() bool { return published.Load() >= 3 && bytes.Load() >= 10+24 })
	if subscribed.Load() != 2 { // the canary's channel and ours
		t.Errorf("subscribed %d times, want 2", subscribed.Load())
	}
	must(t, srv.Kill())
	eventually(t, "failed", func() bool { return failed.Load() > 0 })
}

func TestReach(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Password: "right-one"})
	must(t, parse(t, srv.URL()).Reach(t.Context(), testLogger(t)))

	wrong := "unix://:wrong-one@" + parse(t, srv.URL()).addr
	err := parse(t, wrong).Reach(t.Context(), testLogger(t)) // no deadline: it must not wait
	if err == nil || !contains(err, "refuses access", "unix://") || contains(err, "wrong-one") {
		t.Errorf("wrong password: got %v", err)
	}
	none := "unix://" + parse(t, srv.URL()).addr
	if err := parse(t, none).Reach(t.Context(), testLogger(t)); err == nil || !contains(err, "refuses access") {
		t.Errorf("no password: got %v", err)
	}

	must(t, srv.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = parse(t, srv.URL()).Reach(ctx, testLogger(t))
	if err == nil || !contains(err, "cannot be reached", srv.URL()[:7]) || contains(err, "right-one") {
		t.Errorf("killed server: got %v", err)
	}
}

// TestReachSaysWhy: the attempt that the deadline cuts short does not hide why the
// attempts before it failed. In one of three tries: the first attempt must be over by
// then, and a second that is not cut short says something else.
func TestReachSaysWhy(t *testing.T) {
	const tries = 3
	var err error
	for range tries {
		err = reachWhoHangsUpOnce(t, time.Second)
		hungUp := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
		if hungUp && errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
	t.Errorf("got %v, want it to say that Redis hung up and that the deadline passed", err)
}

// reachWhoHangsUpOnce tries to reach somebody who hangs up on the first caller, and does
// not answer the others.
func reachWhoHangsUpOnce(t *testing.T, within time.Duration) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var calls sync.WaitGroup
	calls.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n == 0 {
				_ = c.Close()
				continue
			}
			calls.Go(func() { // read and never answer
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
	defer func() { _ = l.Close(); calls.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return parse(t, "redis://"+l.Addr().String()).Reach(ctx, testLogger(t))
}
