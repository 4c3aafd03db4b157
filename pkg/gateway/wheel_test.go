package gateway

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWheelVisitsWhenPlanned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWheel(25 * time.Second)
		due := map[*conn]ticks{}
		plan := func(c *conn, in ticks) {
			w.plan(c, in)
			due[c] = w.time() + max(min(in, wheelSlots-1), 1)
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0, 1:
				plan(&conn{}, ticks(rapid.IntRange(0, 100).Draw(t, "in")))
			case 2:
				for c := range due { // any
					if rapid.Bool().Draw(t, "remove") {
						w.remove(c)
						delete(due, c)
						w.plan(c, 1) // has no effect any more
					} else {
						plan(c, 3)
					}
					break
				}
			default:
				w.advance(func(c *conn, now ticks) ticks {
					if due[c] != now {
						t.Fatalf("visited at %d; planned for %d", now, due[c])
					}
					next := ticks(rapid.IntRange(1, 70).Draw(t, "next"))
					due[c] = now + min(next, wheelSlots-1)
					return next
				})
				for c, at := range due {
					if at <= w.time() {
						t.Fatalf("%p was to be visited at %d, now is %d", c, at, w.time())
					}
				}
			}
		}
	})
}

func TestWheelStep(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		25 * time.Second:       time.Second,
		time.Hour:              time.Second,
		100 * time.Millisecond: 4 * time.Millisecond,
		time.Millisecond:       time.Millisecond,
	} {
		if got := newWheel(interval).step; got != want {
			t.Errorf("interval %v: steps of %v; want %v", interval, got, want)
		}
	}
}

func TestJitterShortensByAFifthAtMost(t *testing.T) {
	seen := map[ticks]bool{}
	for range 1000 {
		n := jitter(25)
		if n < 20 || n > 25 {
			t.Fatalf("25 became %d", n)
		}
		seen[n] = true
	}
	if len(seen) < 5 {
		t.Errorf("only %d different values", len(seen))
	}
	if n := jitter(1); n != 1 {
		t.Errorf("1 became %d", n)
	}
}
