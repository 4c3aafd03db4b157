package gateway

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestFrameEnd cuts runs of frames at every kind of place.
func TestFrameEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		ends := []int{0}
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			n := rapid.SampledFrom([]int{0, 1, 125, 126, 127, 4000, 65535, 65536, 70000}).Draw(t, "length")
			b = append(appendHeader(b, final|byte(wire.Text), n), make([]byte, n)...)
			ends = append(ends, len(b))
		}
		at := rapid.OneOf(rapid.IntRange(0, len(b)), rapid.SampledFrom(ends)).Draw(t, "at")
		want := 0
		for _, end := range ends {
			if want = end; end >= at {
				break
			}
		}
		if got := frameEnd(b, at); got != want {
			t.Fatalf("frame at %d ends at %d; want %d of %v", at, got, want, ends)
		}
	})
}

// TestEndings checks that every cause has a name and a status that a client or a
// service can be told.
func TestEndings(t *testing.T) {
	names := map[string]bool{}
	for c := causeNone + 1; c < causes; c++ {
		e := c.ending()
		if c.String() == "" || names[c.String()] {
			t.Errorf("cause %d has no name of its own: %q", c, c)
		}
		names[c.String()] = true
		if e.status == 0 && c != causeClientClosed && c != causeService {
			t.Errorf("%v has no status", c)
		}
		if e.sendsFrame() && e.status != 0 && sendable(e.status) != e.status {
			t.Errorf("%v is sent as %d in place of %d", c, sendable(e.status), e.status)
		}
	}
}

func TestSendable(t *testing.T) {
	for status, want := range map[wire.CloseCode]wire.CloseCode{
		0: 1000, 1000: 1000, 1001: 1001, 1004: 1011, 1005: 0, 1006: 1011, 1012: 1012, 1014: 1014,
		1015: 1011, 2999: 1011, 3000: 3000, 4999: 4999, 5000: 1011, 7: 1011,
	} {
		if got := sendable(status); got != want {
			t.Errorf("%d is sent as %d; want %d", status, got, want)
		}
	}
	for status := range wire.CloseCode(6000) {
		if s := sendable(status); s != 0 {
			// What the other side's library refuses would look like a protocol error.
			if msg := websocket.FormatCloseMessage(int(s), ""); !bytes.Equal(msg, []byte{byte(s >> 8), byte(s)}) {
				t.Fatalf("%d", s)
			}
		}
	}
}

func TestShorten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		n := rapid.IntRange(0, 20).Draw(t, "n")
		got := shorten(s, n)
		if len(got) > n || !utf8.ValidString(got) || s[:len(got)] != got {
			t.Fatalf("%q cut to %d bytes is %q", s, n, got)
		}
		if len(s) <= n && got != s || len(s) > n && n-len(got) >= utf8.UTFMax {
			t.Fatalf("%q cut to %d bytes loses too much: %q", s, n, got)
		}
	})
}
