package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var testMask = [maskLength]byte{0x12, 0x34, 0x56, 0x78}

// masked makes a client's frame.
func masked(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskedBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskedBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskedBit|127), uint64(n))
	}
	b = append(b, testMask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^testMask[i%maskLength])
	}
	return string(b)
}

// First bytes of clients' frames.
const (
	textFrame  = final | byte(wire.Text)
	textPart   = byte(wire.Text)
	nextPart   = byte(opcodeContinuation)
	lastPart   = final | byte(opcodeContinuation)
	binaryPart = byte(wire.Binary)
)

// TestHostileFrames sends what no WebSocket library would, and checks how the
// client is closed for it, and that another client notices nothing.
func TestHostileFrames(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	other := gw.dial()
	half := `{"path":"/a","data":"`
	closing := func(payload string) string { return masked(opClose, payload) }
	for name, test := range map[string]struct {
		send   string
		status wire.CloseCode
		reason string
	}{
		"unmasked":                   {"\x81\x02{}", 1002, "protocol"},
		"unmasked ping":              {"\x89\x00", 1002, "protocol"},
		"RSV1":                       {masked(textFrame|rsv1, "{}"), 1002, "protocol"},
		"RSV2":                       {masked(textFrame|rsv2, "{}"), 1002, "protocol"},
		"RSV3":                       {masked(textFrame|rsv3, "{}"), 1002, "protocol"},
		"RSV1 on a ping":             {masked(opPing|rsv1, ""), 1002, "protocol"},
		"RSV1 on a close":            {masked(opClose|rsv1, ""), 1002, "protocol"},
		"RSV1 on a continuation":     {masked(textPart, half) + masked(lastPart|rsv1, "x"), 1002, "protocol"},
		"opcode 3":                   {masked(0x83, ""), 1002, "protocol"},
		"opcode 11":                  {masked(0x8b, ""), 1002, "protocol"},
		"opcode 15":                  {masked(0x8f, ""), 1002, "protocol"},
		"ping of 126 bytes":          {masked(opPing, strings.Repeat("x", 126)), 1002, "protocol"},
		"pong of 64 KiB":             {masked(opPong, strings.Repeat("x", 1<<16)), 1002, "protocol"},
		"fragmented ping":            {masked(opPing&^final, ""), 1002, "protocol"},
		"continuation first":         {masked(lastPart, "{}"), 1002, "protocol"},
		"continuation after the end": {masked(opPing, "x") + masked(lastPart, ""), 1002, "protocol"},
		"a message within another":   {masked(textPart, half) + masked(textFrame, "{}"), 1002, "protocol"},
		"a type within another":      {masked(textPart, half) + masked(binaryPart, "x"), 1002, "protocol"},
		"length 2^63-1":              {"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 1009, "too_big"},
		"length 2^63":                {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", 1002, "protocol"},
		"length 2^64-1":              {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask", 1002, "protocol"},
		"length 5 in 2 bytes":        {"\x81\xfe\x00\x05mask12345", 1002, "protocol"},
		"length 5 in 8 bytes":        {"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05mask12345", 1002, "protocol"},
		"too big in parts": {
			strings.Repeat(masked(textPart, strings.Repeat("x", 1<<15)), 1) + masked(nextPart, strings.Repeat("x", 1<<15)) + masked(nextPart, "x"),
			1009, "too_big",
		},
		"lengths that overflow":    {masked(textPart, "x") + "\x00\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 1009, "too_big"},
		"endless empty fragments":  {masked(textPart, "") + strings.Repeat(masked(nextPart, ""), DefaultMaxFragments), 1008, "fragments"},
		"ping flood":               {strings.Repeat(masked(opPing, "x"), 1000), 1008, "control_flood"},
		"pong flood":               {strings.Repeat(masked(opPong, ""), 1000), 1008, "control_flood"},
		"ping flood in a message":  {masked(textPart, half) + strings.Repeat(masked(opPing, ""), 1000), 1008, "control_flood"},
		"invalid UTF-8":            {masked(textFrame, half+"\xff\"}"), 1007, "invalid_utf8"},
		"overlong UTF-8":           {masked(textFrame, half+"\xc0\xaf\"}"), 1007, "invalid_utf8"},
		"surrogate in UTF-8":       {masked(textFrame, half+"\xed\xa0\x80\"}"), 1007, "invalid_utf8"},
		"UTF-8 that never ends":    {masked(textPart, half+"\xe2\x82") + masked(lastPart, "\"}"), 1007, "invalid_utf8"},
		"close 999":                {closing("\x03\xe7"), 1002, "protocol"},
		"close 1004":               {closing("\x03\xec"), 1002, "protocol"},
		"close 1005":               {closing("\x03\xed"), 1002, "protocol"},
		"close 1006":               {closing("\x03\xee"), 1002, "protocol"},
		"close 1015":               {closing("\x03\xf7"), 1002, "protocol"},
		"close 2999":               {closing("\x0b\xb7"), 1002, "protocol"},
		"close 5000":               {closing("\x13\x88"), 1002, "protocol"},
		"close of one byte":        {closing("\x03"), 1002, "protocol"},
		"close of 126 bytes":       {closing("\x03\xe8" + strings.Repeat("x", 124)), 1002, "protocol"},
		"close with invalid UTF-8": {closing("\x03\xe8\xff"), 1007, "invalid_utf8"},
		"close twice":              {closing("\x03\xe8") + closing("\x0f\xa0"), 1000, ""},
		"close in a message":       {masked(textPart, half) + closing("\x0f\xa0bye"), 4000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			c := gw.dial()
			_, _ = c.NetConn().Write([]byte(test.send)) // fails if the gateway hangs up half way
			if before := c.wantClose(test.status, test.reason); len(before) > 0 {
				t.Errorf("the client got %q before it was closed", before)
			}
		})
	}
	w.TB = t
	other.put(message("/a", "1", "x"))
	other.want(message("/a", "1", "x"))
}

// TestUnusualFrames sends what is rare and allowed.
func TestUnusualFrames(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MaxControlRate: -1, MaxFragments: -1})
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	euro := message("/a", "1", "€€€")
	cut := strings.Index(euro, "€") + 1 // within a character
	for name, send := range map[string]string{
		"a character in two fragments": masked(textPart, euro[:cut]) + masked(lastPart, euro[cut:]),
		"empty fragments":              masked(textPart, "") + strings.Repeat(masked(nextPart, ""), 5000) + masked(lastPart, euro),
		"pings between fragments":      masked(textPart, euro[:9]) + strings.Repeat(masked(opPing, "x"), 500) + masked(lastPart, euro[9:]),
		"a ping of 125 bytes":          masked(opPing, strings.Repeat("x", 125)) + masked(textFrame, euro),
		"unsolicited pongs":            strings.Repeat(masked(opPong, "x"), 500) + masked(textFrame, euro),
		"bytes one by one":             "",
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			c := gw.dial()
			if send == "" {
				for _, b := range []byte(masked(textFrame, euro)) {
					if _, err := c.NetConn().Write([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := c.NetConn().Write([]byte(send)); err != nil {
				t.Fatal(err)
			}
			c.want(euro)
		})
	}
	w.TB = t
}

// TestMessageDeadline checks that nothing that a client sends within a message, or
// in place of one, moves the time when it must be complete.
func TestMessageDeadline(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MessageTimeout: 200 * time.Millisecond, MaxControlRate: -1, MaxFragments: -1})
	for name, test := range map[string]struct{ first, again string }{
		"a byte at a time":        {"\x81\xfe\x01\x00mask", "x"},
		"pings in a message":      {masked(textPart, "x"), masked(opPing, "")},
		"pongs in a message":      {masked(textPart, "x"), masked(opPong, "x")},
		"empty fragments":         {masked(textPart, ""), masked(nextPart, "")},
		"a header without an end": {"\x81", ""},
		"a ping without an end":   {"\x89\x85ma", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			c := gw.dial()
			_, _ = c.NetConn().Write([]byte(test.first))
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for test.again != "" {
					select {
					case <-tick.C:
						_, _ = c.NetConn().Write([]byte(test.again))
					case <-stop:
						return
					}
				}
			}()
			c.wantClose(wire.ClosePolicy, "message_timeout")
			close(stop)
			<-done
		})
	}
	w.TB = t
}

// TestPingsUnread floods a gateway with pings and reads no answer.
func TestPingsUnread(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MaxControlRate: -1, SlowConsumerTimeout: 200 * time.Millisecond})
	c := gw.dial()
	flood := []byte(strings.Repeat(masked(opPing, strings.Repeat("x", maxControl)), 1000))
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	for {
		if _, err := c.NetConn().Write(flood); err != nil {
			break
		}
	}
	w.eventually("the client is gone", func() bool { return gw.SocketCount() == 0 })
}

// TestFrameReader reads random messages, in random fragments with control frames
// between them, from a connection that gives as little at a time as it likes.
func TestFrameReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent strings.Builder
		var want, got []string
		for range rapid.IntRange(1, 5).Draw(t, "messages") {
			var whole strings.Builder
			whole.WriteString(string(byte(wire.Text)) + "|")
			first := textPart
			parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 4).Draw(t, "parts")
			for i, part := range parts {
				if i > 0 && rapid.Bool().Draw(t, "ping") {
					sent.WriteString(masked(opPing, "between"))
					want = append(want, "ping|between")
				}
				if i == len(parts)-1 {
					first |= final
				}
				sent.WriteString(masked(first, string(part)))
				whole.Write(part)
				first = nextPart
			}
			want = append(want, whole.String())
		}
		var r io.Reader = strings.NewReader(sent.String())
		if rapid.Bool().Draw(t, "slow") {
			r = iotest.OneByteReader(r)
		}
		f := frameReader{r: bufio.NewReaderSize(r, minReadSize)}
		var whole string
		for {
			err := f.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.control() {
				b, err := f.payload()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, "ping|"+string(b))
				continue
			}
			if f.op != opcodeContinuation {
				whole = string(byte(f.messageType())) + "|"
			}
			buf := make([]byte, rapid.IntRange(1, 400).Draw(t, "buffer"))
			for f.left > 0 {
				n, err := f.read(buf)
				if err != nil {
					t.Fatal(err)
				}
				whole += string(buf[:n])
			}
			if f.fin {
				got = append(got, whole)
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("read %q; want %q", got, want)
		}
	})
}

// FuzzFrameReader checks that a reader of anything ends, and gives no more than
// was sent.
func FuzzFrameReader(f *testing.F) {
	for _, s := range []string{
		masked(textFrame, "{}"), masked(textPart, "{") + masked(opPing, "x") + masked(lastPart, "}"), masked(opClose, "\x03\xe8bye"),
		"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", "\x81\xfe\x00\x05mask12345", masked(textFrame|rsv1, "x"), "\x81",
	} {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, deflate bool) {
		in := frameReader{r: bufio.NewReaderSize(bytes.NewReader(b), minReadSize), deflate: deflate}
		total := 0
		for in.next() == nil {
			if in.left < 0 || in.left == math.MaxInt64 && len(b) < 14 {
				t.Fatalf("a frame of %d bytes", in.left)
			}
			if in.control() {
				p, err := in.payload()
				if err != nil {
					return
				}
				if total += len(p); in.op == opcodeClose && parseClose(p) == nil {
					t.Fatal("a close frame that does not end reading")
				}
				continue
			}
			buf := make([]byte, 100)
			for in.left > 0 {
				n, err := in.read(buf)
				if total += n; err != nil {
					break
				}
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes became %d", len(b), total)
		}
	})
}
