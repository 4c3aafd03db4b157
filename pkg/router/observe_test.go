package router_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
)

// TestHandlersAreTimed: messages that follow each other, one that loses its turn, and
// one that panics.
func TestHandlersAreTimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var took []time.Duration
		var panics int
		r := newRouter(t, router.Config{Hooks: router.Hooks{Panicked: func() { panics++ }}})
		r.Observe(router.Hooks{Handled: func(d time.Duration) { took = append(took, d) }, Panicked: func() { panics++ }})
		r.UseOpen(func(*router.Context) { time.Sleep(time.Hour) })
		r.Bind("/quick", func(*router.Context) { time.Sleep(time.Millisecond) })
		r.Bind("/slow", func(*router.Context) { time.Sleep(5 * time.Second) })
		r.Bind("/bad", func(*router.Context) { time.Sleep(2 * time.Millisecond); panic("bad") })

		c := connect(t, r, router.SocketInfo{})
		time.Sleep(2 * time.Hour)
		c.say(msg("/quick", "1", nil), msg("/bad", "2", nil), msg("/slow", "3", nil), msg("/quick", "4", nil))
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{time.Millisecond, 2 * time.Millisecond, time.Millisecond, 5 * time.Second}
		if !slices.Equal(took, want) {
			t.Errorf("timed %v; want %v", took, want)
		}
		if panics != 2 {
			t.Errorf("%d hooks were told of the panic; want 2", panics)
		}
		c.End(router.StatusNormalClosure, "", router.ClientCloseSource, false)
		<-c.Done()
	})
}
