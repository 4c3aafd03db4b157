package hostile

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
)

// squeezed compresses a message as RFC 7692 demands.
func squeezed(msg string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // fails only for an unknown level
	_, _ = w.Write([]byte(msg))                        // a bytes.Buffer takes everything
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// compressed are attacks on a connection with permessage-deflate.
func compressed() []attack {
	const text = final | rsv1 | opText
	good := squeezed(`{"path":"/echo","id":"1","data":"` + strings.Repeat("x", 1000) + `"}`)
	bomb := squeezed(strings.Repeat(" ", 4<<20)) // 4 KiB
	var list []attack
	for _, a := range []struct {
		name   string
		send   string
		status int
		reason string
	}{
		{"4 KiB that inflate to 4 MiB", frame(text, bomb), 1009, "too_big"},
		{"4 KiB that inflate to 4 MiB, in 100 fragments", inFragments(bomb, 100), 1009, "too_big"},
		{"100 such messages", strings.Repeat(frame(text, bomb), 100), 1009, "too_big"},
		{"one byte too much when inflated", frame(text, squeezed(strings.Repeat(" ", 64<<10+1))), 1009, "too_big"},
		{"64 KiB of empty blocks", frame(text, strings.Repeat("\x00\x00\x00\xff\xff", 13<<10)), 1002, "protocol"},
		{"garbage", frame(text, "\xff\xff\xff\xff\xff\xff"), 1002, "protocol"},
		{"half a message", frame(text, good[:len(good)/2]), 1002, "protocol"},
		{"a reference before the beginning", frame(text, "\x02\x0a\x00"), 1002, "protocol"},
		{"a block of an unknown type", frame(text, "\x07"), 1002, "protocol"},
		{"nothing", frame(text, ""), 1002, "protocol"},
		{"more behind the last block", frame(text, "\x01\x00\x00\xff\xff"+good), 1002, "protocol"},
		{"RSV1 on a ping", frame(final|rsv1|opPing, "x"), 1002, "protocol"},
		{"RSV1 on a continuation", frame(opText, "{") + frame(final|rsv1|opMore, "}"), 1002, "protocol"},
		{"RSV1 and RSV2", frame(text|0x20, good), 1002, "protocol"},
		{"invalid UTF-8, compressed", frame(text, squeezed("{\"path\":\"/echo\",\"data\":\"\xff\"}")), 1007, "invalid_utf8"},
		{"a compressed binary message", frame(final|rsv1|opBinary, good), 1003, "wrong_type"},
	} {
		list = append(list, attack{name: a.name, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
			c.write(frame(text, good))
			if got := c.hear(); len(got) == 0 || len(got) >= 500 {
				t.Errorf("a good message is answered with %q, not compressed", got)
			}
			c.write(a.send)
			c.wantClose(a.status, a.reason)
		}})
	}
	return list
}

// inFragments makes a compressed message of n frames and a last, empty one.
func inFragments(msg string, n int) string {
	var b strings.Builder
	b.WriteString(frame(rsv1|opText, ""))
	for i := range n {
		b.WriteString(frame(opMore, msg[len(msg)*i/n:len(msg)*(i+1)/n]))
	}
	b.WriteString(frame(final|opMore, ""))
	return b.String()
}
