package router_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
)

const patience = 30 * time.Second

// ended is how a socket ended, as its UseClose handlers saw it.
type ended struct {
	status router.Status
	reason string
	source router.CloseSource
}

// serve runs a router on a real server. The channel tells how sockets ended.
func serve(t *testing.T, r *router.Router) (url string, ends <-chan ended) {
	t.Helper()
	ch := make(chan ended, 10)
	r.UseClose(func(ctx *router.Context) {
		status, reason, source := ctx.CloseStatus()
		ch <- ended{status, reason, source}
	})
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http"), ch
}

func dial(t *testing.T, url string, header http.Header, subprotocols ...string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	ws, res, err := d.Dial(url, header)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	return ws
}

func exchange(t *testing.T, ws *websocket.Conn, kind int, message, want string) {
	t.Helper()
	if err := ws.WriteMessage(kind, []byte(message)); err != nil {
		t.Fatal(err)
	}
	gotKind, got, err := ws.ReadMessage()
	if err != nil || string(got) != want || gotKind != kind {
		t.Fatalf("%q was answered with %d %q, %v; want %d %q", message, gotKind, got, err, kind, want)
	}
}

func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

func TestServeHTTP(t *testing.T) {
	r := newRouter(t, router.Config{})
	r.Use(msgpack.Middleware(), protobuf.Middleware())
	opened := make(chan string, 10)
	r.UseOpen(func(ctx *router.Context) {
		opened <- ctx.Headers().Get("X-Test") + ctx.Query().Get("q") + ctx.Subprotocol()
	})
	r.Bind("/echo/*?", echo)
	r.Bind("/private", func(ctx *router.Context) { _ = ctx.Send(router.Raw(`"private"`)) })
	url, ends := serve(t, r)

	ws := dial(t, url+"/any?q=query", http.Header{"X-Test": {"head"}})
	if got := wait(t, opened); got != "headquery" {
		t.Errorf("opened with %q", got) // before any message
	}
	exchange(t, ws, websocket.TextMessage, msg("/echo", "1", 5), `{"id":"1","data":5}`)
	exchange(t, ws, websocket.TextMessage, msg("/private", "1", 5), `{"id":"1","data":"private"}`)
	// This one is valid Protobuf too, but msgpack's middleware comes first.
	both := "\x82\xa2id\xa11\xa4path\xd9\x5b/echo/" + strings.Repeat("x", 0x5b-6)
	exchange(t, ws, websocket.BinaryMessage, both, "\x81\xa2id\xa11")
	exchange(t, ws, websocket.BinaryMessage, "\x82\xa4path\xa5/echo\xa4data\x05", "\x81\xa4data\x05") // found out by trying
	_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "bye"))
	if got := wait(t, ends); got != (ended{4001, "bye", router.ClientCloseSource}) {
		t.Errorf("ended %v", got)
	}

	for subprotocol, message := range map[string][2]string{
		"velaros-json":     {msg("/echo", "1", 5), `{"id":"1","data":5}`},
		"velaros-msgpack":  {"\x83\xa4path\xa5/echo\xa2id\xa11\xa4data\x05", "\x82\xa2id\xa11\xa4data\x05"},
		"velaros-protobuf": {"\x0a\x011\x12\x05/echo\x1a\x02\x08\x05", "\x0a\x011\x1a\x02\x08\x05"},
	} {
		ws := dial(t, url, nil, "unknown", subprotocol, "velaros-json")
		if ws.Subprotocol() != subprotocol {
			t.Errorf("subprotocol %q, want %q", ws.Subprotocol(), subprotocol)
		}
		if got := wait(t, opened); got != subprotocol {
			t.Errorf("opened with %q", got)
		}
		kind := websocket.BinaryMessage
		if subprotocol == "velaros-json" {
			kind = websocket.TextMessage
		}
		exchange(t, ws, kind, message[0], message[1])
		_ = ws.WriteMessage(websocket.TextMessage+websocket.BinaryMessage-kind, []byte("x")) // the other type
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
			t.Errorf("%s: wrong message type: %v", subprotocol, err)
		}
		if got := wait(t, ends); got.status != router.StatusUnsupportedData || got.source != router.ServerCloseSource {
			t.Errorf("ended %v", got)
		}
	}
}

func TestServeHTTPRefuses(t *testing.T) {
	r := newRouter(t, router.Config{Origins: []string{"good.example", "https://*.secure.example"}})
	url, _ := serve(t, r)
	res, err := http.Get("http" + strings.TrimPrefix(url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain request got %d", res.StatusCode)
	}
	for _, tt := range []struct {
		origin, subprotocol string
		status              int
	}{
		{"", "", http.StatusSwitchingProtocols},
		{"http://good.example", "", http.StatusSwitchingProtocols},
		{"https://GOOD.example", "", http.StatusSwitchingProtocols},
		{"https://a.secure.example", "", http.StatusSwitchingProtocols},
		{"http://a.secure.example", "", http.StatusForbidden},
		{"https://bad.example", "", http.StatusForbidden},
		{"https://good.example.evil.example", "", http.StatusForbidden},
		{"://", "", http.StatusForbidden},
		{"", "velaros-nonsense", http.StatusBadRequest},
	} {
		d := websocket.Dialer{HandshakeTimeout: patience}
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		if tt.subprotocol != "" {
			d.Subprotocols = []string{tt.subprotocol}
		}
		ws, res, err := d.Dial(url, header)
		if res == nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.status {
			t.Errorf("origin %q, subprotocol %q: %d, want %d", tt.origin, tt.subprotocol, res.StatusCode, tt.status)
		}
		if err == nil {
			_ = ws.Close()
		}
	}
	r.SetOrigins(nil)
	ws := dial(t, url, http.Header{"Origin": {"https://bad.example"}})
	_ = ws.Close()
}

func TestServeHTTPEnds(t *testing.T) {
	r := newRouter(t, router.Config{})
	r.SetMaxReadMessageSize(1000)
	r.SetPingInterval(20 * time.Millisecond)
	r.SetPingTimeout(patience)
	r.Bind("/kick", func(ctx *router.Context) { ctx.CloseWithStatus(router.StatusPolicyViolation, "kicked") })
	url, ends := serve(t, r)

	t.Run("handler closes", func(t *testing.T) {
		ws := dial(t, url, nil)
		_ = ws.WriteMessage(websocket.TextMessage, []byte(msg("/kick", "", nil)))
		_, _, err := ws.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 1008 || closed.Text != "kicked" {
			t.Errorf("read: %v", err)
		}
		if got := wait(t, ends); got != (ended{1008, "kicked", router.ServerCloseSource}) {
			t.Errorf("ended %v", got)
		}
	})
	t.Run("message too big", func(t *testing.T) {
		ws := dial(t, url, nil)
		_ = ws.WriteMessage(websocket.TextMessage, make([]byte, 1001))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
			t.Errorf("read: %v", err)
		}
		if got := wait(t, ends); got.status != router.StatusMessageTooBig || got.source != router.ServerCloseSource {
			t.Errorf("ended %v", got)
		}
	})
	t.Run("not UTF-8", func(t *testing.T) {
		ws := dial(t, url, nil)
		_ = ws.WriteMessage(websocket.TextMessage, []byte("{\"\xff\":1}"))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseInvalidFramePayloadData) {
			t.Errorf("read: %v", err)
		}
		wait(t, ends)
	})
	t.Run("client vanishes", func(t *testing.T) {
		ws := dial(t, url, nil)
		_ = ws.NetConn().Close()
		if got := wait(t, ends); got.status != router.StatusAbnormalClosure || got.source != router.ClientCloseSource {
			t.Errorf("ended %v", got)
		}
	})
	t.Run("client answers no pings", func(t *testing.T) {
		r.SetPingTimeout(50 * time.Millisecond)
		ws := dial(t, url, nil)
		ws.SetPingHandler(func(string) error { return nil })
		go func() { _, _, _ = ws.ReadMessage() }()
		if got := wait(t, ends); got != (ended{1006, "no answer to pings", router.ClientCloseSource}) {
			t.Errorf("ended %v", got)
		}
	})
	t.Run("client lives by its pongs", func(t *testing.T) {
		r.SetPingInterval(300 * time.Millisecond)
		r.SetPingTimeout(5 * time.Second) // a busy machine may stand still for half of it
		ws := dial(t, url, nil)
		pings := make(chan struct{}, 100)
		answer := ws.PingHandler()
		ws.SetPingHandler(func(s string) error { pings <- struct{}{}; return answer(s) })
		var reading sync.WaitGroup
		reading.Go(func() { _, _, _ = ws.ReadMessage() })
		for range 20 { // over 6 s
			wait(t, pings)
		}
		_ = ws.Close()
		reading.Wait()
		wait(t, ends)
	})
	t.Run("client reads nothing", func(t *testing.T) {
		r := newRouter(t, router.Config{WriteTimeout: 50 * time.Millisecond, PingInterval: -1})
		r.Bind("/flood", func(ctx *router.Context) {
			var err error
			for err == nil {
				err = ctx.Send(strings.Repeat("x", 1<<16))
			}
		})
		url, ends := serve(t, r)
		ws := dial(t, url, nil)
		_ = ws.WriteMessage(websocket.TextMessage, []byte(msg("/flood", "", nil)))
		if got := wait(t, ends); got != (ended{1008, "slow_consumer", router.ServerCloseSource}) {
			t.Errorf("ended %v", got)
		}
	})
}

// TestServeHTTPBackpressure: a client whose messages are not handled is not read
// from, and one that goes away meanwhile is noticed.
func TestServeHTTPBackpressure(t *testing.T) {
	r, err := router.New(router.Config{TurnTimeout: -1, PingInterval: 20 * time.Millisecond, PingTimeout: 2 * time.Minute, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	handled := make(chan int, 1<<20)
	r.Use(func(ctx *router.Context) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		handled <- len(ctx.RawData())
	})
	url, ends := serve(t, r)
	ws := dial(t, url, nil)
	const size = 8 << 10
	var blocked net.Error
	sent := 0
	for ; ; sent++ {
		_ = ws.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if err := ws.WriteMessage(websocket.TextMessage, make([]byte, size)); err != nil {
			if !errors.As(err, &blocked) || !blocked.Timeout() {
				t.Fatal(err)
			}
			break
		}
		if sent*size > 64<<20 {
			t.Fatal("the server reads without end")
		}
	}
	_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
	_ = ws.Close() // reset: only pings can notice it
	if got := wait(t, ends); got.source != router.ClientCloseSource {
		t.Errorf("ended %v", got)
	}
	if n := len(handled); n > 2*(256<<10)/size {
		t.Errorf("%d messages were taken from a client that nobody listens to", n)
	}
	close(hold)

	ws = dial(t, url, nil) // and one that is listened to is read from again
	const messages = 200
	for i := range messages {
		if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%*d", size, i)); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		wait(t, handled)
	}
	_ = ws.Close()
	wait(t, ends)
}
