package pushapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
)

// TestMemoryOutlivesItsCaller: a push goes on when its caller goes away. Who repeats it
// does not push again, whether the first one is still under way or not.
func TestMemoryOutlivesItsCaller(t *testing.T) {
	var m memory
	m.init(10, time.Hour, nil)
	began, release := make(chan struct{}), make(chan struct{})
	times := 0
	push := func(ctx context.Context) (*pushv1.PushResponse, error) {
		return m.once(ctx, memoryKey{"orders", "1"}, [sha256.Size]byte{}, func(ctx context.Context) (*pushv1.PushResponse, error) {
			times++
			close(began)
			select {
			case <-release:
				return &pushv1.PushResponse{Delivered: 7}, nil
			case <-ctx.Done():
				return nil, failure(ctx.Err())
			}
		})
	}
	first, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := push(first); connect.CodeOf(err) != connect.CodeCanceled {
		t.Fatalf("who went away got %v", err)
	}
	second := make(chan error, 1)
	go func() {
		r, err := push(t.Context())
		if err == nil && (!r.GetRepeated() || r.GetDelivered() != 7) {
			err = fmt.Errorf("got %v", r)
		}
		second <- err
	}()
	close(release)
	if err := <-second; err != nil {
		t.Errorf("who repeated it: %v", err)
	}
	if r, err := push(t.Context()); err != nil || !r.GetRepeated() || r.GetDelivered() != 7 || times != 1 {
		t.Errorf("who repeated it later: %v, %v; it was pushed %d times", r, err, times)
	}
}

// TestMemoryBounds: a push that failed is forgotten, the oldest is when there are too
// many, and none that is under way.
func TestMemoryBounds(t *testing.T) {
	const size = 4
	failed := errors.New("nothing was sent")
	var m memory
	m.init(size, time.Hour, func(any) error { return connect.NewError(connect.CodeInternal, failed) })
	done := func(err error) func(context.Context) (*pushv1.PushResponse, error) {
		return func(context.Context) (*pushv1.PushResponse, error) { return &pushv1.PushResponse{}, err }
	}
	push := func(name string, do func(context.Context) (*pushv1.PushResponse, error)) (repeated bool, err error) {
		r, err := m.once(t.Context(), memoryKey{"orders", name}, [sha256.Size]byte{}, do)
		return r.GetRepeated(), err
	}
	want := func(name string, want bool) {
		t.Helper()
		if repeated, err := push(name, done(nil)); repeated != want || err != nil {
			t.Errorf("%s: repeated %v, %v; want %v", name, repeated, err, want)
		}
	}
	if _, err := push("failed", done(failed)); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	want("failed", false)
	if _, err := push("defect", func(context.Context) (*pushv1.PushResponse, error) { panic("a defect") }); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("a panic is answered with %v", err)
	}

	began, release, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		if repeated, err := push("slow", func(context.Context) (*pushv1.PushResponse, error) {
			close(began)
			<-release
			return &pushv1.PushResponse{}, nil
		}); repeated || err != nil {
			t.Errorf("slow: repeated %v, %v", repeated, err)
		}
	}()
	<-began
	want("a", false)
	want("b", false)
	want("failed", true) // as many as may be, and the oldest is known
	want("c", false)     // in place of the oldest
	want("a", true)
	for n := range size {
		want(fmt.Sprint("more ", n), false)
	}
	want("a", false)
	close(release)
	<-over
	want("slow", true)

	m.ttl = 0
	want("slow", false)
	if n := m.order.Len(); n != 1 || len(m.entries) != n {
		t.Errorf("%d and %d are remembered", n, len(m.entries))
	}
}
