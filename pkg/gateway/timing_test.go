package gateway

import (
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// observed is what an Observer was told.
type observed struct {
	service, pattern  string
	answered, written time.Duration
}

func TestRepliesAreTimedByRoute(t *testing.T) {
	w := newWorld(t)
	timed := make(chan observed, 10)
	gw := w.gateway(Config{Hooks: Hooks{Requests: func(service, pattern string) Observer {
		return func(answered, written time.Duration) { timed <- observed{service, pattern, answered, written} }
	}}})
	i := w.instance(w.node(), registry.Service{Name: "users", Routes: routes("/users/:id", "/echo")})
	gw.routed("/echo")
	c := gw.dial()
	want := func(pattern string, least time.Duration) {
		t.Helper()
		got := receive(w, "timing", timed)
		if got.service != "users" || got.pattern != pattern || got.answered < least || got.written < got.answered {
			t.Errorf("timed %+v; want %s, at least %v", got, pattern, least)
		}
	}

	c.put(message("/users/7", "1", "x"))
	s := receive(w, "open", i.opened)
	receive(w, "message", s.data)
	start := time.Now()
	c.put(message("/echo", "2", "x")) // not timed: another one is
	receive(w, "message", s.data)
	s.send(`{"id":"2","data":1}`)
	s.send(`{"path":"/push","data":"1"}`)
	c.get()
	c.get()
	least := time.Since(start)
	s.send(`{"data":"what has its id last is recognised, too","id":"1"}`)
	c.get()
	want("/users/:id", least)

	c.put(`{"path":"/echo","data":"no id, so no reply to wait for"}`)
	receive(w, "message", s.data)
	c.put(message("/echo", "3", "x"))
	receive(w, "message", s.data)
	s.send(`{"id":"3","data":{}}`)
	c.get()
	want("/echo", 0)

	c.put(message("/nowhere", "4", "x"))
	c.wantError("4", wire.CodeNoRoute)
	if len(timed) > 0 {
		t.Errorf("also timed: %+v", <-timed)
	}
}

// TestTimedReplyIsRecognised tries the replies of all encodings.
func TestTimedReplyIsRecognised(t *testing.T) {
	for _, e := range []envelope.Encoding{envelope.JSON, envelope.MsgPack, envelope.Protobuf} {
		for _, id := range []string{"1", "a-rather-long-id-of-more-than-thirty-two-bytes", `with "quotes"`} {
			start := e.AppendMessage(nil, envelope.Message{ID: id})
			waiting := &timing{active: true, id: []byte(id), start: startOf(e, start)}
			data := []byte(`{"n":1}`)
			if e == envelope.MsgPack {
				data = []byte{0x81, 0xa1, 'n', 1}
			}
			for payload, want := range map[string]bool{
				string(e.AppendMessage(nil, envelope.Message{ID: id, Data: data})):                                               true,
				string(e.AppendMessage(nil, envelope.Message{ID: id, Path: "/p", Data: data})):                                   true,
				string(e.AppendError(nil, id, envelope.Failure{Code: wire.CodeInternal, Message: "failed"})):                     true,
				string(e.AppendMessage(nil, envelope.Message{ID: id + "0", Data: data})):                                         false,
				string(e.AppendMessage(nil, envelope.Message{Path: "/" + id, Data: data})):                                       false,
				string(e.AppendError(nil, "another", envelope.Failure{Code: wire.CodeInternal, Message: "the id is not " + id})): false,
				"": false,
			} {
				if got := waiting.waitsFor(e, []byte(payload)); got != want {
					t.Errorf("encoding %v, id %q: %q is the reply: %v; want %v", e, id, payload, got, want)
				}
			}
		}
	}
	var none *timing
	if none.waitsFor(envelope.JSON, []byte(`{"id":"1"}`)) {
		t.Error("a socket without a timing waits for a reply")
	}
}

// TestSampler: a socket that sends little has all of its requests timed, one that
// sends much about as many as the limit, spread over the second.
func TestSampler(t *testing.T) {
	var s sampler
	for tick := ticks(1); tick < 20; tick++ {
		for range timedPerTick {
			if !s.pick(tick) {
				t.Fatal("one of few requests is not timed")
			}
		}
	}
	const many = 1000
	for tick := ticks(20); tick < 30; tick++ {
		var picked []int
		for i := range many {
			if s.pick(tick) {
				picked = append(picked, i)
			}
		}
		if tick > 20 && (len(picked) < timedPerTick || len(picked) > 2*timedPerTick || picked[len(picked)-1] < many*9/10) {
			t.Fatalf("of %d requests these are timed: %v", many, picked)
		}
	}
	for range 2 {
		if !s.pick(40) {
			t.Error("after a pause a request is not timed")
		}
	}
}

// TestUnansweredRequestIsGivenUp lets the wheel turn past the limit.
func TestUnansweredRequestIsGivenUp(t *testing.T) {
	g := &Gateway{wheel: newWheel(time.Second), timingTicks: 10}
	c := &conn{g: g, encoding: envelope.JSON}
	to := &target{observe: func(time.Duration, time.Duration) {}}
	c.time(to, []byte("1"))
	c.time(to, []byte("2"))
	if string(c.timing.id) != "1" {
		t.Fatalf("%q is timed", c.timing.id)
	}
	g.wheel.now.Add(10)
	c.time(to, []byte("3"))
	if string(c.timing.id) != "3" {
		t.Errorf("%q is timed after the limit", c.timing.id)
	}
	c.untime([]byte("other"))
	if !c.timing.active {
		t.Error("the refusal of another request ended the timing")
	}
	c.untime([]byte("3"))
	if c.timing.active {
		t.Error("a refused request is still timed")
	}
}
