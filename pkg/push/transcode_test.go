package push

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestDeepPushesAreNotTranscoded: what is nested deeper than any client's message may
// be is not followed down, whoever sent it.
func TestDeepPushesAreNotTranscoded(t *testing.T) {
	const n = 500_000
	for from, text := range map[envelope.Encoding]string{
		envelope.MsgPack: strings.Repeat("\x91", n) + "\xc0",
		envelope.JSON:    strings.Repeat("[", n) + strings.Repeat("]", n),
	} {
		to := envelope.JSON + envelope.MsgPack - from
		if _, ok := payloadFor([]wire.PushData{{Encoding: byte(from), Bytes: []byte(text)}}, to); ok {
			t.Errorf("%d levels of %v were turned into %v", n, from, to)
		}
	}
}

// FuzzTranscode: whatever a node sends, a client gets valid data of its encoding or
// nothing.
func FuzzTranscode(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5,"x",null,1e999]}`))
	f.Add([]byte("\x81\xa1a\x93\x01\xc3\xcb\x40\x04\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\xc7\x01\xff\x00"))
	f.Add(bytes.Repeat([]byte{0x91}, 2000))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, ok := payloadFor([]wire.PushData{{Encoding: byte(envelope.MsgPack), Bytes: b}}, envelope.JSON); ok && !json.Valid(out) {
			t.Fatalf("%q became %q", b, out)
		}
		out, ok := payloadFor([]wire.PushData{{Encoding: byte(envelope.JSON), Bytes: b}}, envelope.MsgPack)
		if !ok {
			return
		}
		message := envelope.MsgPack.AppendMessage(nil, envelope.Message{Data: out})
		if _, err := envelope.MsgPack.Peek(message); err != nil {
			t.Fatalf("%q became %q: %v", b, out, err)
		}
	})
}
