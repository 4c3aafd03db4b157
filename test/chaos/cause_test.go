package chaos

import (
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestCauseAway: what is explained, of whomever, if Redis was away for a time.
func TestCauseAway(t *testing.T) {
	for away, want := range map[time.Duration]struct{ refusal, restart bool }{
		gateway.DefaultPinTimeout:     {false, false},
		gateway.DefaultPinTimeout + 1: {true, false},
		link.DefaultResetAfter:        {true, false},
		link.DefaultResetAfter + 1:    {true, true},
	} {
		c := cause{Fault: Fault{codes: []int{killed}, node: true}, away: away}
		refused := verdict{refused: string(wire.CodeUnavailable), gateway: "gw0-1"}
		closed := verdict{closed: true, code: restarts, gateway: "gw0-1"}
		if c.explains(refused) != want.refusal || c.explains(closed) != want.restart {
			t.Errorf("after %v a refusal is explained: %v, a close: %v", away, c.explains(refused), c.explains(closed))
		}
	}
}

// TestCauseVictims: a fault that hits a node explains how the sessions of that node end
// from then on, and nothing else.
func TestCauseVictims(t *testing.T) {
	at := time.Now()
	gatewayFault, instanceFault := Fault{codes: []int{killed}, node: true, refuses: true}, Fault{codes: []int{restarts}, node: true}
	gatewayHit := cause{Fault: gatewayFault, hits: hits{{node: "gw0-1"}: at}}
	instanceHit := cause{Fault: instanceFault, hits: hits{{node: "probe0-1", instance: true}: at}}
	unavailable := string(wire.CodeUnavailable)
	for name, tc := range map[string]struct {
		cause cause
		v     verdict
		want  bool
	}{
		"at the gateway":            {gatewayHit, verdict{code: killed, gateway: "gw0-1", instance: "probe1-2", ended: at}, true},
		"at it, with another code":  {gatewayHit, verdict{code: restarts, gateway: "gw0-1", instance: "probe1-2", ended: at}, false},
		"at it, before":             {gatewayHit, verdict{code: killed, gateway: "gw0-1", instance: "probe1-2", ended: at.Add(-1)}, false},
		"at another gateway":        {gatewayHit, verdict{code: killed, gateway: "gw1-2", instance: "probe1-2", ended: at}, false},
		"at the one in its place":   {gatewayHit, verdict{code: killed, gateway: "gw0-3", instance: "probe1-2", ended: at}, false},
		"not answered elsewhere":    {gatewayHit, verdict{code: killed, gateway: "gw1-2", ended: at}, false},
		"refused at the gateway":    {gatewayHit, verdict{refused: unavailable, gateway: "gw0-1", ended: at}, true},
		"refused at another":        {gatewayHit, verdict{refused: unavailable, gateway: "gw1-2", ended: at}, false},
		"refused because of Redis":  {cause{Fault: Fault{refuses: true}}, verdict{refused: unavailable, gateway: "gw1-2", ended: at}, true},
		"pinned to the instance":    {instanceHit, verdict{code: restarts, gateway: "gw0-1", instance: "probe0-1", ended: at}, true},
		"pinned to another":         {instanceHit, verdict{code: restarts, gateway: "gw0-1", instance: "probe1-2", ended: at}, false},
		"never answered":            {instanceHit, verdict{code: restarts, gateway: "gw0-1", ended: at}, true},
		"gateway that is so called": {instanceHit, verdict{code: restarts, gateway: "probe0-1", instance: "probe1-2", ended: at}, false},
		"nobody hit":                {cause{Fault: instanceFault}, verdict{code: restarts, gateway: "gw0-1", instance: "probe0-1", ended: at}, false},
	} {
		if got := tc.cause.explains(tc.v); got != tc.want {
			t.Errorf("%s: explained is %v", name, got)
		}
	}
	if got, want := during([]cause{{}, {Fault: Fault{Name: "a"}}, {Fault: Fault{Name: "b"}, hits: hits{{node: "y"}: at, {node: "x"}: at}}}),
		` ("a", "b" of x, y)`; got != want {
		t.Errorf("during%s; want%s", got, want)
	}
}
