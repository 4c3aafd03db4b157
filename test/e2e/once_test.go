package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/test/cluster"
)

// through are the gateways that backends push through.
type through struct {
	mu       sync.Mutex
	backends []*pushclient.Client // guarded by mu
}

func (b *through) set(t *testing.T, i int, g *cluster.Gateway) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends[i] = backend(t, g)
}

func (b *through) get(i int) *pushclient.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backends[i%len(b.backends)]
}

// outcome is what the backends know of a push in the end.
type outcome struct {
	known     bool // it was answered
	delivered bool // to all clients
}

// persist pushes until somebody knows what became of it, at one gateway after the other.
func (b *through) persist(ctx context.Context, first int, m router.Push, key string) (o outcome, err error) {
	for try := first; ctx.Err() == nil; try++ {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		var r *pushclient.Result
		r, err = b.get(try).Push(attempt, m, key)
		cancel()
		switch {
		case err == nil:
			return outcome{known: true, delivered: r.GetDelivered() == 2 && len(r.GetUnanswered()) == 0}, nil
		case connect.CodeOf(err) == connect.CodeAborted:
			return outcome{}, nil
		case connect.CodeOf(err) == connect.CodeAlreadyExists, connect.CodeOf(err) == connect.CodeInvalidArgument:
			return outcome{}, err
		}
	}
	return outcome{}, fmt.Errorf("the push %s has no outcome: %w", key, err)
}

// TestRepeatedPushesComeOnce: backends send each push to two gateways at once, and repeat
// it at the other one until it is answered. Redis hangs and closes connections, and one
// of the gateways is killed: nobody gets a push twice.
func TestRepeatedPushesComeOnce(t *testing.T) {
	s := startSystem(t, 3, 1)
	b := &through{backends: make([]*pushclient.Client, 2)}
	b.set(t, 0, s.gateways[0])
	b.set(t, 1, s.gateways[1])

	var receiving sync.WaitGroup
	got := make([]map[string]int, 2)
	for i := range got {
		got[i] = map[string]int{}
		c := dial(t, s.gateways[2].URL(), nil)
		c.belongs("alice", "", "")
		receiving.Go(func() {
			for {
				a, err := c.tryRead(2 * time.Minute)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if a.Path == "/end" {
					return
				}
				var key string
				if err := json.Unmarshal(a.Data, &key); err != nil {
					t.Errorf("client %d got %s", i, a.Data)
				}
				got[i][key]++
			}
		})
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]outcome{}
	var done atomic.Int64
	for n := range 4 {
		pushing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%d/%d", n, i)
				m := router.Push{To: router.ToUser("alice"), Path: "/once", Data: key, Timeout: 3 * time.Second}
				var both [2]outcome
				var hedge sync.WaitGroup
				for g := range both {
					hedge.Go(func() {
						var err error
						if both[g], err = b.persist(ctx, g, m, key); err != nil {
							t.Error(err)
						}
					})
				}
				hedge.Wait()
				mu.Lock()
				outcomes[key] = outcome{both[0].known || both[1].known, both[0].delivered || both[1].delivered}
				mu.Unlock()
				done.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		until := done.Load() + 40
		eventually(t, time.Minute, func() string {
			if n := done.Load(); n < until {
				return fmt.Sprintf("%d pushes are done, want %d", n, until)
			}
			return ""
		})
	}
	more()
	if err := s.redis.Client().Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
		t.Error(err)
	}
	more()
	if err := s.redis.Stop(); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Second) // it hangs
	if err := s.redis.Cont(); err != nil {
		t.Fatal(err)
	}
	more()
	if err := s.gateways[0].Kill(); err != nil {
		t.Fatal(err)
	}
	b.set(t, 0, s.addGateway(t, "gw-3"))
	more()
	close(stop)
	pushing.Wait()
	if _, err := b.get(1).Push(ctx, router.Push{To: router.ToUser("alice"), Path: "/end"}, ""); err != nil {
		t.Fatal(err)
	}
	receiving.Wait()

	unknown, unsure := 0, 0
	for key, o := range outcomes {
		if !o.known {
			unknown++
		} else if !o.delivered {
			unsure++
		}
		for i := range got {
			if times := got[i][key]; times > 1 || o.delivered && times != 1 {
				t.Errorf("client %d got push %s %d times; its outcome is %+v", i, key, times, o)
			}
		}
	}
	t.Logf("%d pushes; nobody knows of %d; %d may not have reached both clients", len(outcomes), unknown, unsure)
	if delivered := len(outcomes) - unknown - unsure; delivered < len(outcomes)/2 {
		t.Errorf("only %d of %d were delivered", delivered, len(outcomes))
	}
}
