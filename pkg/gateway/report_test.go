package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestReports: what clients say of their latency reaches the hook and no service,
// within a rate and within reason.
func TestReports(t *testing.T) {
	w := newWorld(t)
	reported := make(chan time.Duration, 10)
	hooks, limited := limitedTo()
	hooks.Reported = func(d time.Duration) { reported <- d }
	gw := w.gateway(Config{ReportRate: quota.Rate{PerSecond: 0.001, Burst: 10}, RateGrace: -1, Hooks: hooks})
	i := w.instance(w.node(), registry.Service{Name: "s", Routes: routes("/**")}).echo()
	gw.routed("/echo")
	c := gw.dial()

	c.put(`{"path":"/$latency","id":"l","data":{"ms":12.5}}`)
	c.want(`{"id":"l","data":{}}`)
	c.put(`{"path":"/$latency","data":{"ms":0}}`) // has no answer
	c.put(`{"path":"/$latency","id":"m","data":{"ms":60000,"more":1}}`)
	c.want(`{"id":"m","data":{}}`)
	for _, want := range []time.Duration{12500 * time.Microsecond, 0, time.Minute} {
		if got := receive(w, "the hook", reported); got != want {
			t.Errorf("reported: %v; want %v", got, want)
		}
	}
	for n, data := range []string{`{"ms":-1}`, `{"ms":60001}`, `{"ms":"1"}`, `{}`, `{"ms":null}`, `7`, `{"ms":1e999}`} {
		id := fmt.Sprint("bad", n)
		c.put(`{"path":"/$latency","id":"` + id + `","data":` + data + `}`)
		c.wantError(id, wire.CodeValidation)
	}
	c.put(`{"path":"/$latency","id":"11","data":{"ms":1}}`)
	if wait := c.wantError("11", wire.CodeRateLimited); wait < time.Second {
		t.Errorf("it may try again after %v; a token takes 1000 s", wait)
	}
	if got := receive(w, "the hook", limited); got != "socket report_rate" {
		t.Errorf("limited: %s", got)
	}
	for _, path := range []string{"/$", "/$latency/", "/$latency/x", "/$Auth", "/$anything"} {
		c.put(message(path, "r", ""))
		c.wantError("r", wire.CodeNoRoute)
	}
	if n := len(reported); n > 0 {
		t.Errorf("%d reports that were refused reached the hook", n)
	}
	c.put(message("/echo", "1", "")) // such as a path with a dollar elsewhere
	c.want(message("/echo", "1", ""))
	c.put(message("/a$", "2", ""))
	c.want(message("/a$", "2", ""))
	if n := len(i.opened); n != 1 {
		t.Errorf("%d streams", n)
	}
}

func TestReportEncodings(t *testing.T) {
	for name, test := range map[string]struct {
		encoding envelope.Encoding
		data     string
	}{
		"MessagePack":            {envelope.MsgPack, "\x81\xa2ms\xcb@)\x00\x00\x00\x00\x00\x00"},
		"MessagePack, a float32": {envelope.MsgPack, "\x81\xa2ms\xcaAH\x00\x00"},
		"Protobuf":               {envelope.Protobuf, `{"ms":12.5}`},
	} {
		if got, err := decodeReport(test.encoding, []byte(test.data)); err != nil || got != 12500*time.Microsecond {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := decodeReport(envelope.MsgPack, []byte("\x81\xa2ms\x0c")); err != nil || got != 12*time.Millisecond {
		t.Errorf("a whole number: %v, %v", got, err)
	}
	if got, err := decodeReport(envelope.MsgPack, []byte("\x81\xa2ms\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")); err == nil {
		t.Errorf("not a number: %v", got)
	}
}

// FuzzDecodeReport: no data panics, and a latency that is taken is within bounds.
func FuzzDecodeReport(f *testing.F) {
	for _, seed := range []string{`{"ms":1.5}`, `{"ms":-1}`, `{"ms":1e999}`, `{"ms":null}`, "\x81\xa2ms\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x81\xa2ms\x07"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for e, msg := range map[envelope.Encoding][]byte{
			envelope.JSON:     append([]byte(`{"data":`), append(data, '}')...),
			envelope.MsgPack:  append([]byte("\x81\xa4data"), data...),
			envelope.Protobuf: data,
		} {
			head, err := e.Peek(msg)
			if err != nil {
				continue
			}
			if d, err := decodeReport(e, head.Data); err == nil && (d < 0 || d > maxReported) {
				t.Errorf("%v: %q is %v", e, msg, d)
			}
		}
	})
}
