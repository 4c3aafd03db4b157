package hostile

import (
	"strings"
	"testing"
	"time"
)

// Flags of a frame's first byte.
const (
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// half is the start of a message.
const half = `{"path":"/echo","id":"1","data":"`

// frames are attacks on the framing of WebSocket (RFC 6455, section 5).
func frames() []attack {
	// Each connection is closed with a code and a reason, which docs/protocol.md has.
	closing := func(payload string) string { return frame(final|opClose, payload) }
	var list []attack
	for _, f := range []struct {
		name   string
		send   string
		status int
		reason string
	}{
		{"unmasked message", "\x81\x02{}", 1002, "protocol"},
		{"unmasked ping", "\x89\x00", 1002, "protocol"},
		{"RSV1 without compression", frame(final|opText|rsv1, "{}"), 1002, "protocol"},
		{"RSV2", frame(final|opText|rsv2, "{}"), 1002, "protocol"},
		{"RSV3", frame(final|opText|rsv3, "{}"), 1002, "protocol"},
		{"RSV1 on a ping", frame(final|opPing|rsv1, ""), 1002, "protocol"},
		{"RSV1 on a continuation", frame(opText, half) + frame(final|opMore|rsv1, "x"), 1002, "protocol"},
		{"opcode 3", frame(final|0x3, ""), 1002, "protocol"},
		{"opcode 11", frame(final|0xb, ""), 1002, "protocol"},
		{"ping of 126 bytes", frame(final|opPing, strings.Repeat("x", 126)), 1002, "protocol"},
		{"pong of 64 KiB", frame(final|opPong, strings.Repeat("x", 1<<16)), 1002, "protocol"},
		{"fragmented ping", frame(opPing, "x"), 1002, "protocol"},
		{"continuation first", frame(final|opMore, "{}"), 1002, "protocol"},
		{"a message within another", frame(opText, half) + frame(final|opText, "{}"), 1002, "protocol"},
		{"a binary message within a text message", frame(opText, half) + frame(opBinary, "x"), 1002, "protocol"},
		{"binary message to JSON", frame(final|opBinary, "{}"), 1003, "wrong_type"},
		{"length 2^63-1", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 1009, "too_big"},
		{"length 2^64-1", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask", 1002, "protocol"},
		{"length 5 in 8 bytes", "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05mask12345", 1002, "protocol"},
		{"length of 64 KiB and a byte", frame(final|opText, strings.Repeat(" ", 1<<16+1)), 1009, "too_big"},
		{"fragments that add up to too much", frame(opText, strings.Repeat("x", 1<<15)) + frame(opMore, strings.Repeat("x", 1<<15)) + frame(opMore, "x"), 1009, "too_big"},
		{"lengths that overflow", frame(opText, "x") + "\x00\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 1009, "too_big"},
		{"endless empty fragments", frame(opText, "") + strings.Repeat(frame(opMore, ""), 5000), 1008, "fragments"},
		{"ping flood", strings.Repeat(frame(final|opPing, "x"), 5000), 1008, "control_flood"},
		{"pong flood", strings.Repeat(frame(final|opPong, ""), 5000), 1008, "control_flood"},
		{"ping flood within a message", frame(opText, half) + strings.Repeat(frame(final|opPing, ""), 1000), 1008, "control_flood"},
		{"invalid UTF-8", frame(final|opText, half+"\xff\"}"), 1007, "invalid_utf8"},
		{"overlong UTF-8", frame(final|opText, half+"\xc0\xaf\"}"), 1007, "invalid_utf8"},
		{"UTF-8 of half a surrogate pair", frame(final|opText, half+"\xed\xa0\x80\"}"), 1007, "invalid_utf8"},
		{"split UTF-8 that never ends", frame(opText, half+"\xe2\x82") + frame(final|opMore, "\"}"), 1007, "invalid_utf8"},
		{"close 999", closing("\x03\xe7"), 1002, "protocol"},
		{"close 1005", closing("\x03\xed"), 1002, "protocol"},
		{"close 1006", closing("\x03\xee"), 1002, "protocol"},
		{"close 1015", closing("\x03\xf7"), 1002, "protocol"},
		{"close 65535", closing("\xff\xff"), 1002, "protocol"},
		{"close of one byte", closing("\x03"), 1002, "protocol"},
		{"close of 126 bytes", closing("\x03\xe8" + strings.Repeat("x", 124)), 1002, "protocol"},
		{"close with invalid UTF-8", closing("\x03\xe8\xff"), 1007, "invalid_utf8"},
		{"a second close", closing("\x0f\xa0one") + closing("\x0f\xa1two"), 4000, ""},
		{"close within a message", frame(opText, half) + closing("\x0f\xa0bye"), 4000, ""},
		{"a message after a close", closing("\x0f\xa0bye") + frame(final|opText, half+`"}`), 4000, ""},
		{"an HTTP request", "GET / HTTP/1.1\r\nHost: gw\r\n\r\n", 1002, "protocol"},
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1002, "protocol"},
	} {
		list = append(list, attack{name: f.name, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade()
			c.write(f.send)
			c.wantClose(f.status, f.reason)
		}})
	}
	return append(list,
		attack{name: "split UTF-8 that ends", run: func(t *testing.T, w *world) { // allowed, and must work
			c := dial(t, w.open, "")
			c.upgrade()
			c.write(frame(opText, half+"\xe2\x82") + frame(final|opPing, "") + frame(final|opMore, "\xac\"}"))
			if got := c.hear(); got != `{"id":"1","data":"€"}` {
				t.Errorf("answered with %s", got)
			}
		}},
		attack{name: "a hundred connections that break off in a frame", run: func(t *testing.T, w *world) {
			for range 100 {
				c := dial(t, w.open, "")
				c.upgrade()
				for range 10 {
					c.write("\x81\xfe\xff")
				}
				_ = c.Close()
			}
			w.enter(t, w.open, 1).wantAlive()
		}},
		attack{name: "one byte at a time, endlessly", slow: true, run: func(t *testing.T, w *world) {
			trickle(t, w, frame(final|opText, half+strings.Repeat("x", 1000)), "x")
		}},
		attack{name: "half a header", slow: true, run: func(t *testing.T, w *world) { trickle(t, w, "\x81", "") }},
		attack{name: "pongs that keep half a message alive", slow: true, run: func(t *testing.T, w *world) {
			trickle(t, w, frame(opText, half), frame(final|opPong, ""))
		}},
		attack{name: "fragments that keep half a message alive", slow: true, run: func(t *testing.T, w *world) {
			trickle(t, w, frame(opText, half), frame(opMore, "x"))
		}},
		attack{name: "a client that reads nothing", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade()
			const series = `boreas_gateway_sockets_closed_total{code="1008",gateway="public",reason="slow_consumer"}`
			before := w.metric(t, w.open, series)
			c.say(`{"path":"/flood","id":"1","data":{"n":2000,"size":20000}}`)
			w.awaitMetric(t, w.open, series, before+1)
		}},
		attack{name: "messages far over the rate", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.strict, "")
			c.upgrade("Authorization: Bearer "+w.hs(t, set("sub", "flooder")), "X-Forwarded-For: 203.0.113.77")
			stop, ended := make(chan struct{}), make(chan struct{})
			defer func() { close(stop); <-ended }()
			go func() { // without a pause, after which it would be another flood
				defer close(ended)
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					for range 20 {
						c.say(`{"path":"/echo","id":"1"}`)
					}
					select {
					case <-tick.C:
					case <-stop:
						return
					}
				}
			}()
			c.wantClose(1008, "rate_limited")
		}},
	)
}

// trickle sends the start of a message, and then a bit now and again, until the
// gateway closes.
func trickle(t *testing.T, w *world, start, bit string) {
	t.Helper()
	c := dial(t, w.open, "")
	c.upgrade()
	ended := make(chan struct{})
	defer func() { <-ended }()
	stop := make(chan struct{})
	defer close(stop)
	if len(start) > 1000 {
		start, bit = start[:40], start[40:41]
	}
	c.write(start)
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for bit != "" {
			select {
			case <-tick.C:
				c.write(bit)
			case <-stop:
				return
			}
		}
	}()
	c.wantClose(1008, "message_timeout")
}

// await lets time pass that the attack is about.
func await(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
