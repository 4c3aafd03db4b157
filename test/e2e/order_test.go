package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/test/probe"
)

const (
	loadSockets  = 100
	loadMessages = 1000
	loadWindow   = 16
)

// exchange sends numbered echo requests, at most loadWindow unanswered, and checks
// that every reply comes once and in order.
func exchange(c *client, messages int) error {
	sent := 0
	push := func() error {
		err := c.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/echo","id":"%d","data":{"n":%d}}`, sent, sent))
		sent++
		return err
	}
	for sent < min(loadWindow, messages) {
		if err := push(); err != nil {
			return err
		}
	}
	for want := range messages {
		a, err := c.tryRead(30 * time.Second)
		if err != nil {
			return fmt.Errorf("waiting for reply %d: %w", want, err)
		}
		var data struct{ N int }
		if err := json.Unmarshal(a.Data, &data); err != nil {
			return fmt.Errorf("reply %d: %s: %w", want, a.Data, err)
		}
		if data.N != want || a.ID != strconv.Itoa(want) {
			return fmt.Errorf("got reply id %s, data %s; want number %d", a.ID, a.Data, want)
		}
		if sent < messages {
			if err := push(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Every reply of a loaded system comes once and in order.
func TestRepliesComeOnceAndInOrder(t *testing.T) {
	s := startSystem(t, 2, 3)
	failures := make([]error, loadSockets)
	var all sync.WaitGroup
	for i := range loadSockets {
		c := dial(t, s.gateways[i%2].URL(), nil)
		all.Go(func() { failures[i] = exchange(c, loadMessages) })
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.probes {
		opens := map[string]int{}
		for _, e := range p.Seen() {
			if e.Event == "open" {
				opens[e.Socket]++
			}
		}
		for socket, n := range opens {
			if n != 1 {
				t.Errorf("%s: open handlers of %s ran %d times", p.Name, socket, n)
			}
		}
	}
}

// The death of an instance closes its sockets with 1012, touches no others, and
// leaves right counts.
func TestKilledInstanceClosesItsSockets(t *testing.T) {
	s := startSystem(t, 2, 3)
	const sockets = 30
	clients := make([]*client, sockets)
	where := make([]string, sockets)
	for i := range clients {
		clients[i] = dial(t, s.gateways[i%2].URL(), nil)
		where[i] = clients[i].whoami().Instance
	}
	if err := s.probes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if where[i] != "probe-1" {
			continue
		}
		if ce := c.closed(2 * patience); ce.Code != websocket.CloseServiceRestart {
			t.Errorf("socket of the dead instance closed with %v; want 1012", ce)
		}
	}
	for i, c := range clients {
		if where[i] == "probe-1" {
			continue
		}
		if got := c.whoami().Instance; got != where[i] {
			t.Errorf("socket moved from %s to %s", where[i], got)
		}
	}
	eventually(t, 2*patience, func() string {
		if got := s.counts(t, "probe"); got["probe-0"] != 10 || got["probe-1"] != 0 || got["probe-2"] != 10 {
			return fmt.Sprint("counts ", got)
		}
		return ""
	})
}

// With the policy repin the sockets of a dead instance live on: a request in
// flight fails with instance_lost, the next message opens another instance.
func TestKilledInstanceIsReplacedUnderRepin(t *testing.T) {
	s := startSystem(t, 2, 2, "--on-instance-loss", "repin")
	clients := make([]*client, 8)
	where := make([]string, len(clients))
	for i := range clients {
		clients[i] = dial(t, s.gateways[i%2].URL(), nil)
		where[i] = clients[i].whoami().Instance
		clients[i].send(`{"path":"/sleep","id":"inflight","data":{"ms":60000}}`)
	}
	if err := s.probes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if where[i] != "probe-0" {
			continue
		}
		a := c.read()
		var f failure
		if err := json.Unmarshal(a.Data, &f); err != nil || a.ID != "inflight" || f.Code != "instance_lost" {
			t.Fatalf("got %+v %s; want instance_lost for the request in flight", a, a.Data)
		}
		if got := c.whoami().Instance; got != "probe-1" {
			t.Errorf("repinned to %s; want probe-1", got)
		}
	}
	eventually(t, 2*patience, func() string {
		if got := s.counts(t, "probe"); got["probe-0"] != 0 || got["probe-1"] != len(clients) {
			return fmt.Sprint("counts ", got)
		}
		return ""
	})
}

// The death of a gateway removes its pins, and runs the close handlers of its
// sockets exactly once.
func TestKilledGatewayLeavesNothingBehind(t *testing.T) {
	s := startSystem(t, 2, 2)
	sockets := map[string]bool{} // of the gateway to be killed
	for i := range 20 {
		id := dial(t, s.gateways[i%2].URL(), nil).whoami()
		if i%2 == 0 {
			sockets[id.Socket] = true
		}
	}
	if err := s.gateways[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, func() string {
		total := 0
		for _, n := range s.counts(t, "probe") {
			total += n
		}
		if total != 10 {
			return fmt.Sprintf("%d pins; want those of the living gateway, 10", total)
		}
		return ""
	})
	eventually(t, 2*patience, func() string {
		closes := map[string]int{}
		for _, p := range s.probes {
			for _, e := range p.Seen() {
				if e.Event == "close" {
					closes[e.Socket]++
				}
			}
		}
		for socket, n := range closes {
			if n > 1 || !sockets[socket] {
				t.Fatalf("close handlers of %s ran %d times", socket, n)
			}
		}
		if len(closes) != len(sockets) {
			return fmt.Sprintf("close handlers ran for %d sockets; want %d", len(closes), len(sockets))
		}
		return ""
	})
}

// A gateway that is asked to stop lets replies out, closes with 1012 and unpins.
func TestTerminatedGatewayDrains(t *testing.T) {
	s := startSystem(t, 0, 1)
	g := s.addGateway(t, "gw-drain", "--drain-window", "1s")
	c := dial(t, g.URL(), nil)
	c.send(`{"path":"/sleep","id":"a","data":{"ms":500}}`)
	c.send(`{"path":"/echo","id":"b","data":1}`)
	eventually(t, patience, func() string { // the messages have reached the service, or will
		if n, err := g.Metric(t.Context(), "boreas_gateway_messages_received_total"); err != nil || n != 2 {
			return fmt.Sprintf("the gateway has read %v messages, %v", n, err)
		}
		for _, e := range s.probes[0].Seen() {
			if e.Event == "open" {
				return ""
			}
		}
		return "no socket opened"
	})
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if a := c.read(); a.ID != id {
			t.Fatalf("got %+v; want the reply to %s", a, id)
		}
	}
	if ce := c.closed(patience); ce.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v; want 1012", ce)
	}
	if err := g.Wait(t.Context()); err != nil {
		t.Errorf("gateway: %v", err)
	}
	if got := s.counts(t, "probe"); got["probe-0"] != 0 {
		t.Errorf("counts %v after the drain", got)
	}
	want := probe.Event{Event: "close", Status: 1012, Source: "server"}
	eventually(t, patience, func() string { // what the service prints comes a moment later
		seen := s.probes[0].Seen()
		last := seen[len(seen)-1]
		if last.Event != want.Event || last.Status != want.Status || last.Source != want.Source {
			return fmt.Sprintf("last event %+v; want %+v", last, want)
		}
		return ""
	})
}

// An instance that is asked to stop finishes what it has and, with the policy
// repin, hands its sockets to another without losing a message.
func TestTerminatedInstanceHandsItsSocketsBack(t *testing.T) {
	s := startSystem(t, 2, 2, "--on-instance-loss", "repin")
	clients := make([]*client, 10)
	for i := range clients {
		clients[i] = dial(t, s.gateways[i%2].URL(), nil)
		clients[i].whoami()
	}
	failures := make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { failures[i] = exchange(c, loadMessages) })
	}
	if err := s.probes[0].Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := s.probes[0].Wait(t.Context()); err != nil {
		t.Errorf("instance: %v", err)
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if got := c.whoami().Instance; got != "probe-1" {
			t.Errorf("socket is on %s; want probe-1", got)
		}
	}
}

// With the policy close a stopping instance closes its sockets with 1012.
func TestTerminatedInstanceClosesItsSockets(t *testing.T) {
	s := startSystem(t, 1, 2)
	a, b := dial(t, s.gateways[0].URL(), nil), dial(t, s.gateways[0].URL(), nil)
	if got := a.whoami().Instance; got != "probe-0" {
		t.Fatalf("first socket on %s", got)
	}
	b.whoami()
	a.send(`{"path":"/sleep","id":"a","data":{"ms":300}}`)
	eventually(t, patience, func() string {
		if got := s.counts(t, "probe"); got["probe-0"] != 1 {
			return fmt.Sprint("counts ", got)
		}
		return ""
	})
	if err := s.probes[0].Terminate(); err != nil {
		t.Fatal(err)
	}
	if ce := a.closed(patience); ce.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v; want 1012", ce)
	}
	if err := s.probes[0].Wait(t.Context()); err != nil {
		t.Errorf("instance: %v", err)
	}
	if got := b.whoami().Instance; got != "probe-1" {
		t.Errorf("the other socket moved to %s", got)
	}
}
