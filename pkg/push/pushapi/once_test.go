package pushapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

const patience = 20 * time.Second

// peer is a gateway's API, without the gateway.
func peer(t *testing.T, redis *redistest.Server, node string) *API {
	t.Helper()
	a := loose(t, redis, node)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.hub.Backplane().Registry().JoinGateway(ctx, "public"); err != nil {
		t.Fatal(err)
	}
	return a
}

// loose is the API of a node that is no gateway.
func loose(t *testing.T, redis *redistest.Server, node string) *API {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bp, err := backplane.Open(ctx, redis.URL(), backplane.Config{
		NodeID: wire.NodeID(node), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = bp.Close(ctx) // it has no more to say, and to a node that was lost it cannot
	})
	a, err := New(push.Of(bp), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sees waits until a gateway knows of another.
func (a *API) sees(t *testing.T, other *API) {
	t.Helper()
	known := func() bool {
		_, ok := a.hub.Backplane().Registry().View().Gateways[other.hub.Backplane().Self()]
		return ok
	}
	changed := make(chan struct{}, 1)
	stop := a.hub.Backplane().Registry().OnChange(func(_, _ *registry.View) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	defer stop()
	for timeout := time.After(patience); !known(); {
		select {
		case <-changed:
		case <-timeout:
			t.Fatal("the gateways do not see each other")
		}
	}
}

// tally is a push that counts how often it was done.
type tally struct {
	times int
	began chan struct{} // closed when it is first under way
	end   chan error    // what it fails with
}

func newTally() *tally { return &tally{began: make(chan struct{}), end: make(chan error, 10)} }

func (d *tally) do(context.Context) (*pushv1.PushResponse, error) {
	if d.times++; d.times == 1 {
		close(d.began)
	}
	if err := <-d.end; err != nil {
		return nil, err
	}
	return &pushv1.PushResponse{Delivered: 7}, nil
}

// do does a push with a key, as if it were asked for by HTTP.
func (a *API) do(ctx context.Context, key, text string, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	d := deed{key: memoryKey{"orders", key}, hash: sha256.Sum256([]byte(text))}
	return a.memory.once(ctx, d.key, d.hash, func(ctx context.Context) (*pushv1.PushResponse, error) { return a.once(ctx, d, do) })
}

// repeated is an error unless an answer is that of a push of before.
func repeated(r *pushv1.PushResponse, err error) error {
	if err == nil && (!r.GetRepeated() || r.GetDelivered() != 7) {
		return fmt.Errorf("got %v, want it repeated", r)
	}
	return err
}

// TestOnce: a push with a key is done by one of two nodes.
func TestOnce(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{})
	t.Run("gateways", func(t *testing.T) {
		a, b := peer(t, redis, "gw-a"), peer(t, redis, "gw-b")
		b.sees(t, a)
		once(t, redis, a, b)
	})
	t.Run("other nodes", func(t *testing.T) { once(t, redis, loose(t, redis, "a"), loose(t, redis, "b")) })
	t.Run("one node", func(t *testing.T) {
		a := loose(t, redis, "c")
		other, err := New(a.hub, Config{})
		if err != nil {
			t.Fatal(err)
		}
		once(t, redis, a, other)
	})
}

func once(t *testing.T, redis *redistest.Server, a, b *API) {
	never := func(context.Context) (*pushv1.PushResponse, error) { return nil, errors.New("it was done again") }

	slow := newTally()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		r, err := a.do(t.Context(), "slow", "hi", slow.do)
		if err == nil && r.GetRepeated() {
			err = errors.New("the first one is a repetition")
		}
		first <- err
	}()
	<-slow.began
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second) // Redis must answer before
	defer cancel()
	if _, err := b.do(short, "slow", "hi", never); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("while another gateway has it under way: %v", err)
	}
	go func() { second <- repeated(b.do(t.Context(), "slow", "hi", never)) }()
	slow.end <- nil
	for _, done := range []chan error{first, second} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, gateway := range []*API{a, b} {
		if err := repeated(gateway.do(t.Context(), "slow", "hi", never)); err != nil {
			t.Errorf("later: %v", err)
		}
	}
	if _, err := b.do(t.Context(), "slow", "another text", never); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("another push under the same key: %v", err)
	}

	// What failed is not done: another gateway may try.
	failing := newTally()
	failed := errors.New("nothing was sent")
	failing.end <- failed
	failing.end <- nil
	if _, err := a.do(t.Context(), "failing", "hi", failing.do); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if r, err := b.do(t.Context(), "failing", "hi", failing.do); err != nil || r.GetRepeated() || failing.times != 2 {
		t.Errorf("after a failure: %v, %v", r, err)
	}

	// Redis loses what the gateways noted: the one that did it knows.
	if err := redis.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := repeated(a.do(t.Context(), "slow", "hi", never)); err != nil {
		t.Errorf("after Redis lost its data: %v", err)
	}
}

// TestOnceUnanswered: Redis hangs when a node claims a push: it is not sent, and the claim,
// which Redis may get later, is taken back, so that another node can do it.
func TestOnceUnanswered(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, redistest.Config{})
	a, b := loose(t, redis, "a"), loose(t, redis, "b")
	never := func(context.Context) (*pushv1.PushResponse, error) {
		t.Error("it was done")
		return &pushv1.PushResponse{}, nil
	}
	first := newTally()
	first.end <- nil
	if _, err := a.do(t.Context(), "so that Redis knows the script", "hi", first.do); err != nil {
		t.Fatal(err)
	}
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := a.do(ctx, "1", "hi", never); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("while Redis hangs: %v", err)
	}
	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	second := newTally()
	second.end <- nil
	if r, err := b.do(ctx, "1", "hi", second.do); err != nil || r.GetRepeated() {
		t.Errorf("another node: %v, %v", r, err)
	}
	for _, node := range []*API{a, b} {
		if err := repeated(node.do(ctx, "1", "hi", never)); err != nil {
			t.Error(err)
		}
	}
}

// TestOnceReleased: what a node takes back late is its old claim, not a new one.
func TestOnceReleased(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, redistest.Config{})
	a, b := loose(t, redis, "a"), loose(t, redis, "b")
	failed := errors.New("nothing was sent")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.do(ctx, "1", "hi", func(context.Context) (*pushv1.PushResponse, error) {
		return nil, errors.Join(failed, redis.Stop())
	}); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	again := newTally()
	done := make(chan error, 1)
	go func() {
		_, err := a.do(ctx, "1", "hi", again.do)
		done <- err
	}()
	<-again.began
	for a.owes() { // while the push is under way
		select {
		case <-time.After(lastLook / 10):
		case <-ctx.Done():
			t.Fatal("the claim is never taken back")
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := b.do(short, "1", "hi", again.do); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("while it is under way: %v", err)
	}
	again.end <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := repeated(b.do(ctx, "1", "hi", again.do)); err != nil {
		t.Error(err)
	}
}

// owes reports whether notes are still to be changed.
func (a *API) owes() bool {
	a.later.mu.Lock()
	defer a.later.mu.Unlock()
	return a.later.running
}

// TestOnceDefect: nobody knows what a push had done that panicked.
func TestOnceDefect(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{})
	a, b := loose(t, redis, "a"), loose(t, redis, "b")
	if _, err := a.do(t.Context(), "1", "hi", func(context.Context) (*pushv1.PushResponse, error) { panic("a defect") }); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("got %v", err)
	}
	for _, node := range []*API{a, b} {
		_, err := node.do(t.Context(), "1", "hi", func(context.Context) (*pushv1.PushResponse, error) {
			t.Error("it was done")
			return &pushv1.PushResponse{}, nil
		})
		if connect.CodeOf(err) != connect.CodeAborted {
			t.Errorf("who repeats it gets %v", err)
		}
	}
}

// TestOnceOwnerLost: when a gateway is lost with a push under way, others do not do it.
func TestOnceOwnerLost(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, redistest.Config{})
	a, b := peer(t, redis, "gw-a"), peer(t, redis, "gw-b")
	b.sees(t, a)
	d := deed{key: memoryKey{"orders", "1"}, hash: sha256.Sum256([]byte("hi"))}
	claim := d.claim(a.hub.Backplane().Self())
	if now, err := a.hub.Backplane().Registry().SwapNote(t.Context(), d.name(), "", claim, time.Hour); err != nil || now != claim {
		t.Fatal(now, err)
	}
	if err := a.hub.Backplane().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := b.do(ctx, "1", "hi", func(context.Context) (*pushv1.PushResponse, error) {
		t.Error("it was done")
		return &pushv1.PushResponse{}, nil
	})
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("got %v", err)
	}
}

// TestOnceWithoutRedis: a push with a key is not done while Redis cannot be asked, and
// the outcome of one that was under way is noted when it can be again.
func TestOnceWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, redistest.Config{})
	a, b := peer(t, redis, "gw-a"), peer(t, redis, "gw-b")
	b.sees(t, a)
	under := newTally()
	done := make(chan error, 1)
	go func() {
		_, err := a.do(t.Context(), "under way", "hi", under.do)
		done <- err
	}()
	<-under.began
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := b.do(ctx, "new", "hi", func(context.Context) (*pushv1.PushResponse, error) {
		t.Error("it was done")
		return &pushv1.PushResponse{}, nil
	})
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("without Redis: %v", err)
	}
	under.end <- nil
	if err := <-done; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	if err := redis.Restart(); err != nil { // without its data
		t.Fatal(err)
	}
	d := deed{key: memoryKey{"orders", "under way"}, hash: sha256.Sum256([]byte("hi"))}
	timeout := time.After(patience)
	for noted := ""; noted != d.done(&pushv1.PushResponse{Delivered: 7}); {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-timeout:
			t.Fatalf("noted is %q", noted)
		}
		noted, _ = b.hub.Backplane().Registry().SwapNote(t.Context(), d.name(), "?", "", time.Hour)
	}
	if err := repeated(b.do(t.Context(), "under way", "hi", under.do)); err != nil {
		t.Error(err)
	}
}
