package push_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
)

// TestRedises: pushes work on every kind of Redis: keys of many slots, and the
// scripts in the embedded server.
func TestRedises(t *testing.T) {
	for name, start := range map[string]func(*testing.T) string{
		"embedded": func(t *testing.T) string {
			s, err := embedded.StartServer()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			return s.URL()
		},
		"cluster": func(t *testing.T) string { return redistest.StartCluster(t, redistest.Config{}).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t)
			w := newWorld(t)
			w.url = url
			a, b := w.gateway("gw-a", gateway.Config{}), w.gateway("gw-b", gateway.Config{})
			w.chat("chat-1")
			hub := push.Of(w.node("backend"))
			for i := range 8 { // groups in several slots
				group := fmt.Sprint("room ", i)
				for n, s := range []*server{a, b} {
					s.routed("/join")
					c := s.dial().join(group)
					r, err := hub.Push(context.Background(), push.Message{To: router.ToGroup(group), Path: "/p", Data: n})
					if err != nil || r.Delivered != n+1 {
						t.Fatalf("%s: %+v, %v", group, r, err)
					}
					c.gets("/p", fmt.Sprint(n))
				}
			}
		})
	}
}
