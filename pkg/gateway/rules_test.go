package gateway

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

const joinSchema = `{"type":"object","required":["room"],"properties":{"room":{"type":"string","maxLength":8}},"additionalProperties":false}`

func limitedRoute(pattern string, l registry.RouteLimits) registry.Route {
	return registry.Route{Pattern: pattern, Limits: l}
}

// TestSchema: data that does not fit is answered with the names of the fields, in
// every encoding, and the service sees none of it.
func TestSchema(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{Hooks: hooks})
	i := w.instance(w.node(), registry.Service{Name: "s", Routes: []registry.Route{
		limitedRoute("/join", registry.RouteLimits{Schema: joinSchema}), {Pattern: "/free"},
	}})
	gw.routed("/join")
	c := gw.dial()
	for _, tt := range []struct{ data, field string }{
		{`{}`, "room"},
		{`{"room":7}`, "room"},
		{`{"room":"far too long"}`, "room"},
		{`{"room":"a","admin":true}`, "admin"},
		{`[1]`, "data"},
		{`null`, "data"},
		{`{"room":1e999999999}`, "room"},
	} {
		c.put(`{"path":"/join","id":"1","data":` + tt.data + `}`)
		wantField(t, c.get(), tt.field)
		if got := receive(w, "the hook", limited); got != "route schema" {
			t.Errorf("limited: %s", got)
		}
	}
	c.put(`{"path":"/join","id":"1"}`)
	wantField(t, c.get(), "data")

	packed := gw.dial("velaros-msgpack")
	for _, data := range []any{map[string]any{"room": 7}, map[int]int{1: 2}, map[string]any{"room": []byte("x")}, time.Now()} {
		b, err := msgpack.Marshal(map[string]any{"path": "/join", "id": "1", "data": data})
		if err != nil {
			t.Fatal(err)
		}
		if err := packed.WriteMessage(websocket.BinaryMessage, b); err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Data struct {
				Code   string
				Fields []map[string]string
			}
		}
		d := msgpack.NewDecoder(strings.NewReader(packed.get()))
		var raw map[string]any
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(raw)
		if err := json.Unmarshal(text, &answer); err != nil || answer.Data.Code != "validation" || len(answer.Data.Fields) == 0 {
			t.Errorf("%v: %s", data, text)
		}
	}

	binary := gw.dial("velaros-protobuf")
	if err := binary.WriteMessage(websocket.BinaryMessage, []byte("\x12\x05/join\x1a\x01x")); err != nil {
		t.Fatal(err)
	}
	if got := binary.get(); !strings.Contains(got, "validation") {
		t.Errorf("protobuf: %q", got)
	}

	c.put(`{"path":"/join","id":"2","data":{"room":"a"}}`)
	c.put(`{"path":"/free","id":"3","data":[]}`)
	s := receive(w, "the socket", i.opened)
	for _, id := range []string{`"2"`, `"3"`} {
		if d := receive(w, "the message", s.data); !bytes.Contains(d.Payload, []byte(`"id":`+id)) {
			t.Errorf("the service got %s", d.Payload)
		}
	}
	if len(i.opened) > 0 {
		t.Error("a client that sent nothing valid reached the service")
	}
}

func wantField(t *testing.T, msg, field string) {
	t.Helper()
	var got struct {
		Data struct {
			Code   string
			Fields []map[string]string
		}
	}
	if err := json.Unmarshal([]byte(msg), &got); err != nil || got.Data.Code != "validation" || len(got.Data.Fields) != 1 || got.Data.Fields[0][field] == "" {
		t.Errorf("the client got %s; want the field %q", msg, field)
	}
}

// TestRouteLimits: a route's own rate and size hold for it alone.
func TestRouteLimits(t *testing.T) {
	w := newWorld(t)
	hooks, limited := limitedTo()
	gw := w.gateway(Config{Hooks: hooks})
	w.instance(w.node(), registry.Service{Name: "s", Routes: []registry.Route{
		limitedRoute("/rooms/:id/say", registry.RouteLimits{Rate: 0.001, Burst: 2}),
		limitedRoute("/small", registry.RouteLimits{MaxBytes: 100}), {Pattern: "/free"},
	}}).echo()
	gw.routed("/small")
	c, other := gw.dial(), gw.dial()
	for _, room := range []string{"a", "b"} {
		c.put(message("/rooms/"+room+"/say", "1", ""))
		c.get()
	}
	c.put(message("/rooms/c/say", "2", ""))
	c.wantError("2", wire.CodeRateLimited)
	if got := receive(w, "the hook", limited); got != "route message_rate" {
		t.Errorf("limited: %s", got)
	}
	for _, say := range []string{message("/free", "3", strings.Repeat("x", 200)), message("/small", "4", "")} {
		c.put(say)
		c.want(say)
	}
	other.put(message("/rooms/a/say", "5", ""))
	other.want(message("/rooms/a/say", "5", ""))
	c.put(message("/small", "6", strings.Repeat("x", 200)))
	c.wantError("6", wire.CodeValidation)
}

// TestRulesOutliveTheirTable: a socket cannot get a fresh bucket by waiting for
// somebody else's announcement, and a schema is not compiled again.
func TestRulesOutliveTheirTable(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	limits := registry.RouteLimits{Rate: 1, Schema: joinSchema}
	view := func(l registry.RouteLimits) *registry.View {
		v := viewOf(serves("a", "/x"), serves("b", "/y"))
		v.Services["a"].Routes[0].Limits = l
		return v
	}
	first := compileRoutes(view(limits), "public", nil, untimed, log)
	second := compileRoutes(view(limits), "public", first, untimed, log)
	r := first.lookup([]byte("/x")).rules
	if r == nil || second.lookup([]byte("/x")).rules != r {
		t.Error("the rules were made anew")
	}
	if second.lookup([]byte("/y")).rules != nil || second.services["a"].rules != nil {
		t.Error("rules hold beyond their route")
	}
	limits.Rate = 2
	third := compileRoutes(view(limits), "public", second, untimed, log)
	if got := third.lookup([]byte("/x")).rules; got == r || got.rate != (quota.Rate{PerSecond: 2}) || len(third.rules) != 1 {
		t.Errorf("the rules were kept: %+v of %d", got, len(third.rules))
	}
	// What this gateway cannot check is not served, and breaks nothing else.
	for _, broken := range []registry.RouteLimits{{Schema: `{"type":"nonsense"}`}, {Rate: -1}} {
		table := compileRoutes(view(broken), "public", third, untimed, log)
		if table.lookup([]byte("/x")) != nil || table.lookup([]byte("/y")) == nil {
			t.Errorf("%+v: %+v", broken, table)
		}
	}
}

// TestBucketsAreForgotten: a socket that uses many routes holds only those that it
// used lately.
func TestBucketsAreForgotten(t *testing.T) {
	l := &limiter{}
	for i := range 10_000 {
		now := time.Duration(i) * time.Second
		r := &rules{rate: quota.Rate{PerSecond: 1, Burst: 2}}
		l.bucket(r, now).Take(r.rate, 1, now)
	}
	if n := len(l.routes); n > manyBuckets+2 {
		t.Errorf("%d buckets are held", n)
	}
}

func TestLimitsDoNotAllocate(t *testing.T) {
	g := &Gateway{cfg: Config{
		MessageRate: quota.Rate{PerSecond: 1e9}, ByteRate: quota.Rate{PerSecond: 1e9},
	}}
	g.gate.made = time.Now()
	c := &conn{g: g, ctx: t.Context(), client: &client{}, limits: g.newLimiter()}
	r := &rules{rate: quota.Rate{PerSecond: 1e9}}
	c.limits.bucket(r, 0)
	if n := testing.AllocsPerRun(100, func() {
		c.limits.stale = true
		if c.overRate(100) != nil || c.limits.bucket(r, c.clock()).Take(r.rate, 1, c.clock()) > 0 {
			t.Fatal("limited")
		}
	}); n > 0 {
		t.Errorf("%v allocations per message", n)
	}
}
