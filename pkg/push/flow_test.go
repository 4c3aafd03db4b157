package push

import (
	"context"
	"testing"
	"time"
)

// TestFlowOrder: pushes go one after the other, but none waits longer than its own
// time for one that may take longer.
func TestFlowOrder(t *testing.T) {
	f := newFlow()
	if !f.begin(expired) {
		t.Fatal("nobody was there, but a push had to wait")
	}
	if f.begin(expired) {
		t.Fatal("two pushes are being sent at once")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if f.begin(ctx) {
		t.Fatal("two pushes are being sent at once")
	}
	next := make(chan bool)
	go func() { next <- f.begin(context.Background()) }()
	f.end()
	if !<-next {
		t.Error("the next push did not get its turn")
	}
}
