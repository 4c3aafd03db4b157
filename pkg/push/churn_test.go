package push_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// sink is a connection that counts.
type sink struct{ id wire.SocketID }

func (s *sink) SocketID() wire.SocketID                { return s.id }
func (*sink) User() string                             { return "" }
func (*sink) Encoding() envelope.Encoding              { return envelope.JSON }
func (*sink) Push(*push.Delivery, []byte) push.Outcome { return push.Delivered }

// TestChurn: 10,000 groups of 10 members, joins and leaves among pushes; when all
// have left, nothing of them is left in Redis, also after Redis lost its data.
func TestChurn(t *testing.T) {
	const groups, size = 10_000, 10
	ctx := context.Background()
	w := newWorld(t)
	bp := w.node("gw-a")
	if err := bp.Registry().JoinGateway(ctx, "public"); err != nil {
		t.Fatal(err)
	}
	hub, sender := push.Of(bp), push.Of(w.node("backend"))
	before := heap()
	name := func(g int) string { return fmt.Sprintf("group %d", g) }
	members := make([]*push.Member, 1000)
	for i := range members {
		members[i] = hub.NewMember(&sink{wire.SocketID(fmt.Sprintf("s%d.gw-a", i))})
	}
	var shown []push.Shown
	for g := range groups {
		for i := range size {
			s, err := members[(g*size+i)%len(members)].Join(name(g))
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				shown = append(shown, s)
			}
		}
	}
	for _, s := range shown {
		<-s.Done()
	}
	if n := len(w.audienceKeys()); n != groups+1 {
		t.Errorf("%d keys for %d groups and an index", n, groups)
	}
	churn := 1000 // joins and leaves, 500 a second; a minute of them with BOREAS_SOAK
	if os.Getenv("BOREAS_SOAK") != "" {
		churn *= 30
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range churn {
		<-tick.C
		m, g := members[rand.N(len(members))], name(rand.N(groups))
		if s, err := m.Join(g); err == nil {
			<-s.Done()
			if r, err := sender.Push(ctx, push.Message{To: router.ToGroup(g)}); err != nil || r.Delivered == 0 {
				t.Fatalf("a push to a group with members: %+v, %v", r, err)
			}
			m.Leave(g)
		}
	}
	if err := redis.Client().FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the groups are written again", func() bool {
		n, err := redis.Client().HLen(ctx, w.audienceKeyOfIndex()).Result()
		return err == nil && n > groups/2
	})
	for _, m := range members {
		m.End()
	}
	w.eventually("nothing is left in Redis", func() bool {
		left := 0
		for _, k := range w.audienceKeys() {
			if k[len(k)-2:] != ":w" { // watchers expire
				left++
			}
		}
		return left == 0
	})
	// What the sender remembers of the audiences that it pushed to is forgotten, too.
	w.eventually("the memory is free again", func() bool { return heap() < before+2<<20 })
}

// heap is how many bytes live.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// audienceKeyOfIndex returns the key of a gateway's index; "" if there is none.
func (w *world) audienceKeyOfIndex() string {
	keys, err := redis.Client().Keys(context.Background(), "bo:"+w.namespace+":{gateways}:p:*").Result()
	if err != nil || len(keys) == 0 {
		return ""
	}
	return keys[0]
}
