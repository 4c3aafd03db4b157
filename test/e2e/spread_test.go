package e2e

import (
	"fmt"
	"testing"
)

// Sockets opened one after another through a round-robin of gateways spread
// evenly, closes are counted exactly, and new sockets fill the emptiest instance.
func TestLeastConnectionsAreExactAcrossGateways(t *testing.T) {
	s := startSystem(t, 3, 3)
	const sockets = 300
	clients := make([]*client, sockets)
	where := make([]string, sockets)
	for i := range clients {
		clients[i] = dial(t, s.gateways[i%3].URL(), nil)
		where[i] = clients[i].whoami().Instance
	}
	want := map[string]int{"probe-0": 100, "probe-1": 100, "probe-2": 100}
	if got := s.counts(t, "probe"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("counts %v; want %v", got, want)
	}

	// Close 150, all of probe-0's and half of probe-1's.
	left := map[string]int{"probe-0": 0, "probe-1": 50, "probe-2": 100}
	closing := map[string]int{"probe-0": 100, "probe-1": 50}
	for i, c := range clients {
		if closing[where[i]] > 0 {
			closing[where[i]]--
			if err := c.ws.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, patience, func() string {
		got := s.counts(t, "probe")
		for name, n := range left {
			if got[name] != n {
				return fmt.Sprintf("counts %v; want %v", got, left)
			}
		}
		return ""
	})

	// The next 50 go to the empty instance, the 100 after that level the first two.
	for i := range 150 {
		c := dial(t, s.gateways[i%3].URL(), nil)
		if got := c.whoami().Instance; i < 50 && got != "probe-0" {
			t.Fatalf("new socket %d went to %s; want probe-0", i, got)
		}
	}
	if got := s.counts(t, "probe"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("counts %v; want %v", got, want)
	}
}

// An instance that joins later takes the new sockets.
func TestNewInstanceFillsUp(t *testing.T) {
	s := startSystem(t, 2, 1)
	for i := range 10 {
		dial(t, s.gateways[i%2].URL(), nil).whoami()
	}
	s.addProbe(t, "probe-late")
	eventually(t, patience, func() string {
		if got := dial(t, s.gateways[0].URL(), nil).whoami().Instance; got != "probe-late" {
			return "a new socket went to " + got
		}
		return ""
	})
}
