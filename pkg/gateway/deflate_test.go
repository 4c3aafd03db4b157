package gateway

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// squeezed makes a compressed message as RFC 7692 demands.
func squeezed(msg string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write([]byte(msg))
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), syncMark)
}

// dialDeflate connects a client that offers compression. It must be agreed on.
func (s *server) dialDeflate() *wsClient {
	s.w.Helper()
	d := websocket.Dialer{EnableCompression: true, HandshakeTimeout: patience}
	conn, resp, err := d.Dial(s.url("/ws"), nil)
	if err != nil {
		s.w.Fatalf("dial: %v %v", err, resp)
	}
	_ = resp.Body.Close()
	const want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	if got := resp.Header.Get(extensionHeader); got != want {
		s.w.Fatalf("the gateway agreed on %q; want %q", got, want)
	}
	s.w.Cleanup(func() { conn.Close() })
	return &wsClient{conn, s.w}
}

// compressing is a gateway with compression, and an echo at /a.
func compressing(w *world, cfg Config) *server {
	cfg.Compression = true
	gw := w.gateway(cfg)
	w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	return gw
}

// random is text that hardly becomes shorter.
func random(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + r.IntN(90))
		if b[i] == '"' || b[i] == '\\' {
			b[i] = 'x'
		}
	}
	return string(b)
}

// TestCompression exchanges messages of all sizes with a client that compresses.
func TestCompression(t *testing.T) {
	w := newWorld(t)
	gw := compressing(w, Config{})
	c := gw.dialDeflate()
	for _, n := range []int{0, 1, 100, 500, 600, 10_000, 60_000} {
		for _, data := range []string{strings.Repeat("x", n), random(n)} {
			for _, compress := range []bool{true, false} {
				c.EnableWriteCompression(compress)
				msg := fmt.Sprintf(`{"path":"/a","id":"1","data":"%s"}`, data)
				c.put(msg)
				c.want(msg)
			}
		}
	}
	for range 20 { // that leave in one write
		c.put(message("/a", "1", strings.Repeat("y", 2000)))
	}
	for range 20 {
		c.want(message("/a", "1", strings.Repeat("y", 2000)))
	}
	gw.dial().put("{}") // a client without it is served as ever
}

// TestCompressionShortens looks at the bytes that the client gets.
func TestCompressionShortens(t *testing.T) {
	w := newWorld(t)
	c := compressing(w, Config{}).dialDeflate()
	nc := c.NetConn()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	long := message("/a", "1", strings.Repeat("x", 4000))
	if _, err := nc.Write([]byte(masked(textFrame|rsv1, squeezed(long)))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := nc.Read(b)
	if err != nil || b[0] != textFrame|rsv1 || n > 200 {
		t.Fatalf("the client got %d bytes, %x..., %v", n, b[0], err)
	}
	short := message("/a", "2", "x")
	if _, err := nc.Write([]byte(masked(textFrame|rsv1, squeezed(short)))); err != nil {
		t.Fatal(err)
	}
	if n, err = nc.Read(b); err != nil || b[0] != textFrame || string(b[2:n]) != short {
		t.Fatalf("the client got %x, %v", b[:n], err)
	}
}

// TestCompressedFrames sends compressed messages in unusual and in hostile ways, and
// checks how the client is closed for it, if it is.
func TestCompressedFrames(t *testing.T) {
	w := newWorld(t)
	gw := compressing(w, Config{})
	other := gw.dialDeflate()
	msg := message("/a", "1", strings.Repeat("x", 1000))
	z := squeezed(msg)
	bomb := squeezed(strings.Repeat("x", 8<<20))
	bomb = bomb[:min(len(bomb), 4<<10)] // which still inflates to megabytes
	var last bytes.Buffer
	fw, _ := flate.NewWriter(&last, flate.BestSpeed)
	_, _ = fw.Write([]byte(msg))
	_ = fw.Close()
	const frame, part = textFrame | rsv1, textPart | rsv1
	for name, test := range map[string]struct {
		send   string
		status wire.CloseCode // 0: it is answered
		reason string
	}{
		"whole":                        {masked(frame, z), 0, ""},
		"in parts":                     {masked(part, z[:5]) + masked(nextPart, z[5:9]) + masked(opPing, "x") + masked(lastPart, z[9:]), 0, ""},
		"a last block":                 {masked(frame, last.String()+"\x00"), 0, ""},
		"empty part":                   {masked(part, "") + masked(lastPart, z), 0, ""},
		"4 KB that inflate to 4 MB":    {masked(frame, bomb), 1009, "too_big"},
		"16 MB":                        {masked(frame, squeezed(strings.Repeat("x", 16<<20))), 1009, "too_big"},
		"one byte too many":            {masked(frame, squeezed(strings.Repeat("x", DefaultMaxMessageBytes+1))), 1009, "too_big"},
		"too big already":              {masked(frame, strings.Repeat("x", compressedLimit(DefaultMaxMessageBytes)+1)), 1009, "too_big"},
		"truncated":                    {masked(frame, z[:len(z)/2]), 1002, "protocol"},
		"truncated stored block":       {masked(frame, "\x00\x10\x00\xef\xff{}"), 1002, "protocol"},
		"an unknown kind of block":     {masked(frame, "\x07"), 1002, "protocol"},
		"a distance before the begin":  {masked(frame, "\x02\x02\x00"), 1002, "protocol"},
		"no deflate":                   {masked(frame, msg), 1002, "protocol"},
		"more after the last block":    {masked(frame, last.String()+last.String()), 1002, "protocol"},
		"RSV1 on a continuation":       {masked(part, z[:5]) + masked(lastPart|rsv1, z[5:]), 1002, "protocol"},
		"RSV1 on a later part":         {masked(textPart, msg[:5]) + masked(lastPart|rsv1, msg[5:]), 1002, "protocol"},
		"RSV1 on a ping":               {masked(opPing|rsv1, ""), 1002, "protocol"},
		"RSV1 on a close":              {masked(opClose|rsv1, "\x03\xe8"), 1002, "protocol"},
		"no byte at all":               {masked(frame, ""), 1002, "protocol"},
		"RSV2":                         {masked(frame|rsv2, z), 1002, "protocol"},
		"RSV3":                         {masked(frame|rsv3, z), 1002, "protocol"},
		"invalid UTF-8":                {masked(frame, squeezed("{\"path\":\"/a\",\"data\":\"\xff\"}")), 1007, "invalid_utf8"},
		"binary":                       {masked(final|binaryPart|rsv1, z), 1003, "wrong_type"},
		"many that inflate to nothing": {strings.Repeat(masked(frame, "\x00"), 3) + masked(frame, z) + masked(opClose, "\x03\xe8"), 1000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			c := gw.dialDeflate()
			_, _ = c.NetConn().Write([]byte(test.send)) // fails if the gateway hangs up half way
			if test.status == 0 {
				c.want(msg)
				return
			}
			c.wantClose(test.status, test.reason)
		})
	}
	w.TB = t
	other.put(msg)
	other.want(msg)
}

// TestCompressionOfPushes: a push to many is compressed once, whatever else they get
// in the same write; one that becomes no shorter is sent as it is.
func TestCompressionOfPushes(t *testing.T) {
	w := newWorld(t)
	gw := compressing(w, Config{})
	plain := gw.dial()
	clients := []*wsClient{gw.dialDeflate(), gw.dialDeflate(), gw.dialDeflate()}
	w.eventually("the gateway has all clients", func() bool { return gw.SocketCount() == len(clients)+1 })
	noise := make([]byte, 4000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	for _, msg := range []string{message("/a", "1", strings.Repeat("x", 4000)), message("/a", "1", random(4000)), string(noise), "short"} {
		push := &push.Delivery{Policy: wire.PolicyDrop}
		for _, c := range gw.connections() {
			c.mu.Lock()
			for c.writing {
				c.changed.Wait()
			}
			c.writing = true // nothing is written before all of this is queued
			c.queueFrame(textFrame, []byte(`{"path":"/before"}`))
			c.mu.Unlock()
			c.Push(push, []byte(msg))
			c.mu.Lock()
			c.queueFrame(textFrame, []byte(message("/after", "2", "")))
			c.writing = false
			c.startWriter()
			c.mu.Unlock()
		}
		for _, c := range append(clients, plain) {
			c.want(`{"path":"/before"}`)
			c.want(msg)
			c.want(message("/after", "2", ""))
		}
		if len(msg) < compressFrom {
			continue
		}
		made := push.Once(envelope.JSON, func() []byte {
			t.Errorf("a push of %d bytes was not compressed for all", len(msg))
			return nil
		})
		if msg == string(noise) {
			if made != nil {
				t.Error("a push became longer")
			}
		} else if inflateText(t, made) != msg {
			t.Errorf("a push of %d bytes was compressed to %x", len(msg), made)
		}
	}
}

// inflateText decompresses a message.
func inflateText(t *testing.T, b []byte) string {
	t.Helper()
	msg, err := inflate(nil, bytes.Clone(b), 1<<20)
	if err != nil {
		t.Error(err)
	}
	return string(msg)
}

// TestCompressionOffers checks on which offers the gateway agrees.
func TestCompressionOffers(t *testing.T) {
	for offer, want := range map[string]bool{
		"":                        false,
		"permessage-deflate":      true,
		" permessage-deflate ":    true,
		"x-webkit-deflate-frame":  false,
		"foo, permessage-deflate": true,
		"permessage-deflate; client_max_window_bits":                                 true, // Chromium's
		"permessage-deflate; client_max_window_bits=10":                              true,
		`permessage-deflate; client_max_window_bits="9"`:                             true,
		"permessage-deflate; client_max_window_bits=7":                               false,
		"permessage-deflate; client_max_window_bits=16":                              false,
		"permessage-deflate; client_max_window_bits=":                                false,
		"permessage-deflate; server_max_window_bits=10":                              false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          true,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": true,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; unknown":                                                false,
		"permessage-deflate;;":                                                       false,
		strings.Repeat("x,", maxExtensions) + "permessage-deflate":                   false,
	} {
		if got := offersDeflate(http.Header{extensionHeader: {offer}}); got != want {
			t.Errorf("%q: %v, want %v", offer, got, want)
		}
	}
}

// TestCompressionIsOff: without Config.Compression no offer is accepted.
func TestCompressionIsOff(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	d := websocket.Dialer{EnableCompression: true, HandshakeTimeout: patience}
	conn, resp, err := d.Dial(gw.url("/ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	c := &wsClient{conn, w}
	defer c.Close()
	if got := resp.Header.Values(extensionHeader); len(got) != 0 {
		t.Errorf("the gateway agreed on %q", got)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _ = c.NetConn().Write([]byte(masked(textFrame|rsv1, squeezed("{}"))))
	c.wantClose(1002, "protocol")
}

// TestInflateTakesNoMoreThanTheLimit counts what a bomb allocates.
func TestInflateTakesNoMoreThanTheLimit(t *testing.T) {
	const limit = 64 << 10
	bomb := []byte(squeezed(strings.Repeat("x", 8<<20)))
	msg := make([]byte, 0, limit)
	if got, err := inflate(msg, bomb, limit); err == nil || cap(got) > 4*limit {
		t.Fatalf("%d bytes, %v", cap(got), err)
	}
	if got, err := inflate(nil, []byte(squeezed(strings.Repeat("x", limit))), limit); err != nil || len(got) != limit {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte(squeezed("hello")), 100)
	f.Add([]byte("\x00\x10\x00\xef\xff{}"), 10)
	f.Add([]byte(squeezed(strings.Repeat("x", 10_000))), 1000)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit = max(0, min(limit, 1<<16))
		msg, err := inflate(nil, bytes.Clone(b), limit)
		if err == nil && len(msg) > limit {
			t.Errorf("%d bytes; the limit is %d", len(msg), limit)
		}
		back, err := inflate(nil, []byte(squeezed(string(b))), len(b))
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q becomes %q, %v", b, back, err)
		}
	})
}

// FuzzOffersDeflate: no offer panics, and none is accepted that demands what the
// gateway does not do.
func FuzzOffersDeflate(f *testing.F) {
	for _, seed := range []string{"permessage-deflate", `permessage-deflate; client_max_window_bits="9", x`, "permessage-deflate; server_max_window_bits=10", ",;=,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, offer string) {
		if acceptsDeflate(offer) && (!strings.Contains(offer, deflateName) || strings.Contains(offer, "server_max_window_bits")) {
			t.Errorf("%q is accepted", offer)
		}
		offersDeflate(http.Header{extensionHeader: {offer}})
	})
}
