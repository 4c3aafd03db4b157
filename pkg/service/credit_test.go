package service

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestCreditHoldsSendersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		c.grant(1)
		if _, err := c.take(t.Context(), 1000); err != nil {
			t.Fatalf("a message was held back although credit was left: %v", err)
		}
		var passed sync.WaitGroup
		count := make(chan struct{}, 2)
		for range 2 {
			passed.Go(func() {
				if _, err := c.take(t.Context(), 10); err != nil {
					t.Error(err)
				}
				count <- struct{}{}
			})
		}
		synctest.Wait()
		c.grant(999) // back to zero: not yet
		synctest.Wait()
		if len(count) != 0 {
			t.Fatal("sent without credit")
		}
		c.grant(1) // for one of them
		synctest.Wait()
		if len(count) != 1 {
			t.Fatalf("%d of 2 senders passed on credit for one", len(count))
		}
		c.grant(10)
		passed.Wait()
	})
}

func TestCreditEndsWithContextOrStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take after its context ended: %v", err)
		}
		blocked := make(chan error)
		go func() {
			_, err := c.take(t.Context(), 1)
			blocked <- err
		}()
		synctest.Wait()
		c.end(router.ErrSocketClosed)
		if err := <-blocked; !errors.Is(err, router.ErrSocketClosed) {
			t.Errorf("a blocked take gave %v after the end", err)
		}
		c.grant(100)
		if _, err := c.take(t.Context(), 1); !errors.Is(err, router.ErrSocketClosed) {
			t.Errorf("take after the end: %v", err)
		}
	})
}

// TestAllowanceNeverBlamesAnHonestGateway plays a gateway that sends whenever its
// credit is positive, over links that delay messages and grants, against a service
// that handles when it likes.
func TestAllowanceNeverBlamesAnHonestGateway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(minWindow, 4*wire.DefaultWindow).Draw(t, "window")
		const largest = 128 << 10
		var a allowance
		grants := []int{a.start(wire.DefaultWindow, window)} // on the link to the gateway
		credit := wire.DefaultWindow                         // the gateway's
		var inFlight, queue []int                            // costs of messages
		queued := 0
		bound := max(window, wire.DefaultWindow) + largest

		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				if credit <= 0 {
					t.Skip("no credit")
				}
				cost := rapid.IntRange(wire.DataOverhead, largest).Draw(t, "cost")
				credit -= cost
				inFlight = append(inFlight, cost)
			},
			"receive": func(t *rapid.T) {
				if len(inFlight) == 0 {
					t.Skip("nothing in flight")
				}
				cost := inFlight[0]
				inFlight = inFlight[1:]
				inUse, ok := a.spend(cost)
				if !ok {
					t.Fatal("an honest gateway was blamed")
				}
				queue = append(queue, cost)
				if queued += cost; inUse != queued {
					t.Fatalf("%d bytes in use, %d are queued", inUse, queued)
				}
				if queued > bound {
					t.Fatalf("%d bytes are queued; the bound is %d", queued, bound)
				}
			},
			"handle": func(t *rapid.T) {
				if len(queue) == 0 {
					t.Skip("nothing queued")
				}
				cost := queue[0]
				queue, queued = queue[1:], queued-cost
				if n := a.free(cost); n != 0 {
					if n < window/2 {
						t.Fatalf("a grant of %d is less than half the window", n)
					}
					grants = append(grants, n)
				}
			},
			"grant": func(t *rapid.T) {
				if len(grants) == 0 {
					t.Skip("no grant on the way")
				}
				credit += grants[0]
				grants = grants[1:]
			},
			"": func(t *rapid.T) {
				if len(inFlight)+len(queue)+len(grants) == 0 && credit <= 0 {
					t.Fatal("deadlock: all is handled and the gateway has no credit")
				}
			},
		})
	})
}

func TestAllowanceBlamesAnOverrun(t *testing.T) {
	var a allowance
	if n := a.start(wire.DefaultWindow, wire.DefaultWindow); n != 0 {
		t.Fatalf("the default window is whole, but %d were granted", n)
	}
	if _, ok := a.spend(wire.DefaultWindow); !ok {
		t.Fatal("the window cannot be used up")
	}
	if _, ok := a.spend(wire.DataOverhead); ok {
		t.Fatal("a message beyond the window was accepted")
	}
}

// TestFewOfManyMessagesAreTimed: all of a slow socket, some of a fast one.
func TestFewOfManyMessagesAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for gap, want := range map[time.Duration][2]int{
			timedEvery: {160, 160}, timedEvery / 100: {150, 500},
		} {
			var a arrivals
			timed := 0
			for range 160 * int(timedEvery/gap) {
				time.Sleep(gap)
				a.push()
				if _, ok := a.pop(); ok {
					timed++
				}
			}
			if timed < want[0] || timed > want[1] {
				t.Errorf("a message every %v: %d were timed in 10 s; want %v", gap, timed, want)
			}
		}
	})
}

func TestOneMessageAtATimeIsTimed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a arrivals
		var model []bool // of the queued messages: whether it is timed
		t.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				before := a.timed.Load()
				a.push()
				if before != 0 && a.timed.Load() != before {
					t.Fatal("two are timed")
				}
				model = append(model, before == 0 && a.timed.Load() != 0)
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				if _, timed := a.pop(); timed != model[0] {
					t.Fatalf("timed: %v, want %v", timed, model[0])
				}
				model = model[1:]
			},
		})
	})
}
