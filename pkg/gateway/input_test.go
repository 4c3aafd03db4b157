package gateway

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// largest is the most data of a message to /a with an id of one byte.
var largest = DefaultMaxMessageBytes - len(message("/a", "1", ""))

// TestBadInputClosesOneClient sends what no client should, and checks the close
// code, what the service is told, and that another client notices nothing.
func TestBadInputClosesOneClient(t *testing.T) {
	w := newWorld(t)
	closed := make(chan string, 10)
	gw := w.gateway(Config{Hooks: Hooks{SocketClosed: func(_ wire.CloseCode, reason string, _ time.Duration) { closed <- reason }}})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	other := gw.dial()
	other.put(message("/a", "1", "x"))
	other.want(message("/a", "1", "x"))
	receive(w, "open", a.opened)

	text := func(msg string) func(*wsClient) {
		return func(c *wsClient) { _ = c.WriteMessage(websocket.TextMessage, []byte(msg)) } // may fail half way
	}
	raw := func(b string) func(*wsClient) {
		return func(c *wsClient) { _, _ = c.NetConn().Write([]byte(b)) }
	}
	for name, test := range map[string]struct {
		subprotocol string
		do          func(*wsClient)
		status      wire.CloseCode
		reason      string
	}{
		"binary on JSON": {
			do:     func(c *wsClient) { _ = c.WriteMessage(websocket.BinaryMessage, []byte(message("/a", "1", "x"))) },
			status: wire.CloseUnsupported, reason: "wrong_type",
		},
		"text on MessagePack": {
			subprotocol: "velaros-msgpack", do: text(message("/a", "1", "x")),
			status: wire.CloseUnsupported, reason: "wrong_type",
		},
		"1 MiB":         {do: text(message("/a", "1", strings.Repeat("x", 1<<20))), status: wire.CloseTooBig, reason: "too_big"},
		"1 byte more":   {do: text(message("/a", "1", strings.Repeat("x", largest+1))), status: wire.CloseTooBig, reason: "too_big"},
		"invalid UTF-8": {do: text("{\"path\":\"/a\",\"data\":\"\xff\"}"), status: wire.CloseInvalidUTF8, reason: "invalid_utf8"},
		"unmasked":      {do: raw("\x81\x02{}"), status: wire.CloseProtocol, reason: "protocol"},
		"opcode":        {do: raw("\x83\x80abcd"), status: wire.CloseProtocol, reason: "protocol"},
		"reserved bit":  {do: raw("\xc1\x80abcd" + strings.Repeat("x", 1<<17)), status: wire.CloseProtocol, reason: "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			c := gw.dial(test.subprotocol)
			if test.subprotocol == "" {
				c.put(message("/a", "7", "first"))
				c.want(message("/a", "7", "first"))
			}
			test.do(c)
			if before := c.wantClose(test.status, test.reason); len(before) > 0 {
				t.Errorf("the client got %q before it was closed", before)
			}
			// A reset in place of an orderly end could have overtaken the close frame.
			if n, err := c.NetConn().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("after the close frame the client reads %d bytes, %v; want EOF", n, err)
			}
			_ = c.Close()
			if got := receive(w, "the hook", closed); got != test.reason {
				t.Errorf("the hook was told %q", got)
			}
			if test.subprotocol == "" {
				s := receive(w, "open", a.opened)
				s.wantClosed(wire.Close{Status: test.status, Reason: test.reason, Source: wire.SourceServer})
			}
		})
	}
	w.TB = t
	other.put(message("/a", "2", "y"))
	other.want(message("/a", "2", "y"))
}

func TestLargestMessage(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	c := gw.dial()
	msg := message("/a", "1", strings.Repeat("x", largest))
	c.put(msg)
	c.want(msg)
}

// TestFragments sends a message in pieces, with a ping between them.
func TestFragments(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	c := gw.dial()
	pongs := make(chan string, 1)
	c.SetPongHandler(func(data string) error {
		pongs <- data
		return nil
	})
	msg := message("/a", "1", strings.Repeat("x", 5000))
	piece, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	for i := range msg {
		if _, err := piece.Write([]byte{msg[i]}); err != nil {
			t.Fatal(err)
		}
		if i == len(msg)/2 {
			if err := c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := piece.Close(); err != nil {
		t.Fatal(err)
	}
	c.want(msg)
	if got := receive(w, "pong", pongs); got != "are you there" {
		t.Errorf("pong %q", got)
	}
}

// TestHalfAMessage checks that a message must end some time.
func TestHalfAMessage(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{MessageTimeout: 50 * time.Millisecond})
	w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	c := gw.dial()
	for range 3 { // whole messages have no deadline between them
		c.put(message("/a", "1", "x"))
		c.want(message("/a", "1", "x"))
	}
	if _, err := c.NetConn().Write([]byte("\x81\x90abcd123")); err != nil {
		t.Fatal(err)
	}
	c.wantClose(wire.ClosePolicy, "message_timeout")
}

// TestClientCloses checks what a service is told when the client ends the
// connection, with and without a close frame.
func TestClientCloses(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{})
	a := w.instance(w.node(), registry.Service{Name: "a", Routes: routes("/a")}).echo()
	gw.routed("/a")
	for _, test := range []struct {
		frame  []byte
		status wire.CloseCode
		reason string
	}{
		{websocket.FormatCloseMessage(4001, "tired"), 4001, "tired"},
		{websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), wire.CloseGoingAway, ""},
		{[]byte{}, wire.CloseNoStatus, ""},
		{nil, wire.CloseAbnormal, "client_gone"},
	} {
		c := gw.dial()
		c.put(message("/a", "1", "x"))
		c.want(message("/a", "1", "x"))
		if test.frame == nil {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0) // a reset, not an orderly end
			_ = c.Close()
		} else {
			if err := c.WriteControl(websocket.CloseMessage, test.frame, time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			c.wantClose(test.status, "")
		}
		s := receive(w, "open", a.opened)
		s.wantClosed(wire.Close{Status: test.status, Reason: test.reason, Source: wire.SourceClient})
	}
}
