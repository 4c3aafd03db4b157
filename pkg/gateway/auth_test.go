package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestIdentityTravels: an instance is told who the client is when its stream
// opens, and ahead of the next message when that changes.
func TestIdentityTravels(t *testing.T) {
	w := newWorld(t)
	s := w.gateway(Config{})
	first := w.instance(w.node(), registry.Service{Name: "first", Routes: routes("/first")})
	second := w.instance(w.node(), registry.Service{Name: "second", Routes: routes("/second")})
	s.routed("/first")
	s.routed("/second")
	client := s.dial()
	client.put(message("/first", "1", ""))
	one := receive(w, "the stream", first.opened)
	if len(one.open.Identity) != 0 {
		t.Errorf("an anonymous client has the identity %q", one.open.Identity)
	}
	receive(w, "the message", one.data)

	alice := wire.Identity{User: "alice", Claims: []byte(`{}`)}
	s.connections()[0].identify(alice)
	client.put(message("/first", "2", ""))
	receive(w, "the second message", one.data)
	one.mu.Lock()
	defer one.mu.Unlock()
	if d := cmp.Diff([]wire.Kind{wire.KindData, wire.KindIdentity, wire.KindData}, one.kinds); d != "" {
		t.Errorf("frames: %s", d)
	}
	client.put(message("/second", "3", ""))
	two := receive(w, "the second stream", second.opened)
	if got, err := wire.ParseIdentity(two.open.Identity); err != nil || !cmp.Equal(got, alice) {
		t.Errorf("the second instance was told %+v, %v", got, err)
	}
}
