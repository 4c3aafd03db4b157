package hostile

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/test/cluster"
)

// patience bounds every wait.
const patience = 20 * time.Second

// Opcodes of frames.
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
	final    = 0x80
)

// frame makes a client's frame. first is the opcode with its flags.
func frame(first byte, payload string) string {
	const key = "\x12\x34\x56\x78"
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%len(key)])
	}
	return string(b)
}

// conn is a connection of which every byte is ours.
type conn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// dial connects to a gateway, from an address of this machine if one is given.
func dial(t *testing.T, g *cluster.Gateway, from string) *conn {
	t.Helper()
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.DialContext(t.Context(), "tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &conn{Conn: nc, t: t, r: bufio.NewReader(nc)}
}

// write sends bytes. That it fails is no fault: the gateway may hang up half way.
func (c *conn) write(s string) { _, _ = io.WriteString(c, s) }

const (
	keyHeader = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	handshake = "Host: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + keyHeader
)

// request sends a request and returns the status and the code of its answer.
func (c *conn) request(text string) (status int, code string) {
	c.t.Helper()
	c.write(text)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var failure struct{ Error, Code string }
	if json.Unmarshal(body, &failure) == nil && failure.Error == "" {
		c.t.Errorf("the answer says no error: %s", body)
	}
	return resp.StatusCode, failure.Code
}

// shake sends a good handshake with more headers.
func (c *conn) shake(headers ...string) (status int, code string) {
	c.t.Helper()
	text := "GET /ws HTTP/1.1\r\n" + handshake
	if len(headers) > 0 {
		text += strings.Join(headers, "\r\n") + "\r\n"
	}
	return c.request(text + "\r\n")
}

// upgrade does a handshake that must succeed.
func (c *conn) upgrade(headers ...string) {
	c.t.Helper()
	if status, code := c.shake(headers...); status != http.StatusSwitchingProtocols {
		c.t.Fatalf("the handshake is answered with %d %s", status, code)
	}
}

// frame reads a frame of the gateway.
func (c *conn) frame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(c.r, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(c.r, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil || n > 1<<20 {
		return 0, nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return head[0] & 0xf, payload, err
}

// say sends a text message.
func (c *conn) say(message string) { c.write(frame(final|opText, message)) }

// hear reads a text message.
func (c *conn) hear() string {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		switch {
		case err != nil:
			c.t.Fatalf("no message: %v", err)
		case op == opClose:
			c.t.Fatalf("closed with %q instead of a message", payload)
		case op == opText:
			return string(payload)
		}
	}
}

// wantClose reads until the gateway closes, and checks how.
func (c *conn) wantClose(status int, reason string) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("the connection ends without a close frame: %v", err)
		}
		if op != opClose {
			continue
		}
		if len(payload) < 2 {
			c.t.Fatalf("closed with %q; want %d %s", payload, status, reason)
		}
		if got := int(binary.BigEndian.Uint16(payload)); got != status || string(payload[2:]) != reason {
			c.t.Fatalf("closed with %d %s; want %d %s", got, payload[2:], status, reason)
		}
		return
	}
}

// wantEnd reads until the gateway hangs up.
func (c *conn) wantEnd() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			c.t.Fatal("the gateway does not hang up")
		}
	}
}

// drip sends one byte per second until stop is called.
func (c *conn) drip(text string) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range len(text) {
			select {
			case <-tick.C:
				c.write(text[i : i+1])
			case <-over:
				return
			}
		}
	}()
	return func() { close(over); <-ended }
}

// wantAlive checks that the connection works.
func (c *conn) wantAlive() {
	c.t.Helper()
	c.say(`{"path":"/echo","id":"alive","data":[1]}`)
	if got := c.hear(); got != `{"id":"alive","data":[1]}` {
		c.t.Errorf("afterwards the connection says %s", got)
	}
}

// wantError reads an error message and checks its id and code.
func (c *conn) wantError(id, code string) {
	c.t.Helper()
	text := c.hear()
	var got struct {
		ID   string
		Data struct{ Error, Code string }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.ID != id || got.Data.Code != code || got.Data.Error == "" {
		c.t.Errorf("answered with %.300s; want the id %q and the code %q", text, id, code)
	}
}
