package push_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// counted is data that counts how often it is encoded.
type counted struct{ times atomic.Int64 }

func (c *counted) MarshalJSON() ([]byte, error) {
	c.times.Add(1)
	return []byte(`{"text":"hi"}`), nil
}

// tap is a connection that keeps which message it was handed.
type tap struct {
	sink
	encoding envelope.Encoding
	got      *messages
}

func (t *tap) Encoding() envelope.Encoding { return t.encoding }

func (t *tap) Push(_ *push.Delivery, message []byte) push.Outcome {
	t.got.mu.Lock()
	defer t.got.mu.Unlock()
	t.got.of[t.encoding][&message[0]]++
	return push.Delivered
}

// messages are how many connections got which message, by encoding.
type messages struct {
	mu sync.Mutex
	of [3]map[*byte]int // guarded by mu
}

// TestEncodedOnce: a push to 1500 sockets encodes its data once, and each gateway makes
// one message for each encoding of them, which all connections share.
func TestEncodedOnce(t *testing.T) {
	const each = 250
	w := newWorld(t)
	var gateways [2]messages
	var shown []push.Shown
	for i := range gateways {
		bp := w.node(fmt.Sprintf("gw-%d", i))
		if err := bp.Registry().JoinGateway(t.Context(), "public"); err != nil {
			t.Fatal(err)
		}
		for e := range gateways[i].of {
			gateways[i].of[e] = map[*byte]int{}
			for n := range each {
				id := wire.SocketID(fmt.Sprintf("s%d-%d.gw-%d", e, n, i))
				m := push.Of(bp).NewMember(&tap{sink: sink{id}, encoding: envelope.Encoding(e), got: &gateways[i]})
				t.Cleanup(m.End)
				s, err := m.Join("room")
				if err != nil {
					t.Fatal(err)
				}
				shown = append(shown, s)
			}
		}
	}
	for _, s := range shown {
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Fatal("timeout: a join is confirmed")
		}
	}
	var data counted
	r, err := push.Of(w.node("backend")).Push(context.Background(), push.Message{To: router.ToGroup("room"), Path: "/p", Data: &data, Timeout: patience})
	if err != nil || r.Delivered != 2*3*each {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := data.times.Load(); n != 1 {
		t.Errorf("the data was encoded %d times", n)
	}
	for i := range gateways {
		gateways[i].mu.Lock()
		for e, got := range gateways[i].of {
			if len(got) != 1 {
				t.Errorf("gateway %d made %d messages for %d sockets with %v", i, len(got), each, envelope.Encoding(e))
			}
		}
		gateways[i].mu.Unlock()
	}
}
