package chaos

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAway: a Redis that hangs is away, and so is one that is a replica; what that
// explains ends with it.
func TestAway(t *testing.T) {
	s, err := startStandalone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var a away
	var watch sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer watch.Wait()
	defer cancel()
	watch.Go(func() { a.watch(ctx, s) })
	follow := func(host, port string) error { return s.Client().ReplicaOf(ctx, host, port).Err() }
	for name, fault := range map[string]struct{ begin, end func() error }{
		"hangs":        {s.Stop, s.Cont},
		"is a replica": {func() error { return follow("127.0.0.1", "1") }, func() error { return follow("no", "one") }},
	} {
		a.reset()
		if away := a.most(); away != 0 {
			t.Fatalf("away for %v before it %s", away, name)
		}
		if err := fault.begin(); err != nil {
			t.Fatal(err)
		}
		const least = 300 * time.Millisecond
		if !until(ctx, patience, func() bool { return a.most() >= least }) {
			t.Errorf("it %s, and that is not seen", name)
		}
		if err := fault.end(); err != nil {
			t.Fatal(err)
		}
		if !until(ctx, patience, func() bool { a.reset(); return a.most() == 0 }) {
			t.Errorf("it %s no more, and that is not seen", name)
		}
	}
}

// TestRecovering: what counts is when the last client moves, however long the fault goes on.
func TestRecovering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &experiment{crowd: &crowd{size: 2, moved: make([]time.Time, 2)}}
		wait := e.recovering(t.Context())
		const quick, slow = time.Second, 4 * time.Second
		time.Sleep(quick)
		e.crowd.mu.Lock()
		e.crowd.moved[0] = time.Now()
		e.crowd.mu.Unlock()
		time.Sleep(slow - quick)
		e.crowd.mu.Lock()
		e.crowd.moved[1] = time.Now()
		e.crowd.mu.Unlock()
		time.Sleep(slow)
		wait()
		if e.stood < slow || e.stood > slow+quick {
			t.Errorf("the clients stood still for %v; want %v", e.stood, slow)
		}
	})
}
