package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// patience bounds every wait for an answer.
const patience = 15 * time.Second

// client is a JSON client of a gateway.
type client struct {
	t  *testing.T
	ws *websocket.Conn
	n  int // ids used

	within time.Duration // bounds the wait for an answer; 0: patience
}

// answer is an envelope from the server.
type answer struct {
	ID   string          `json:"id"`
	Path string          `json:"path"`
	Data json.RawMessage `json:"data"`
}

// failure is the data of an error envelope.
type failure struct {
	Error string         `json:"error"`
	Code  wire.ErrorCode `json:"code"`
}

// dial connects a client, with headers and subprotocols as given.
func dial(t *testing.T, url string, header http.Header, subprotocols ...string) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	ws, resp, err := d.DialContext(t.Context(), url, header)
	if err != nil {
		status := ""
		if resp != nil {
			status = resp.Status
		}
		t.Fatalf("dial %s: %v %s", url, err, status)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &client{t: t, ws: ws}
}

// send writes one text message.
func (c *client) send(message string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// read reads one envelope.
func (c *client) read() answer {
	c.t.Helper()
	a, err := c.tryRead(cmp.Or(c.within, patience))
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return a
}

func (c *client) tryRead(within time.Duration) (answer, error) {
	var a answer
	if err := c.ws.SetReadDeadline(time.Now().Add(within)); err != nil {
		return a, err
	}
	_, b, err := c.ws.ReadMessage()
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("%q: %w", b, err)
	}
	return a, nil
}

// request sends a request and decodes the data of its reply.
func (c *client) request(path string, data, into any) {
	c.t.Helper()
	c.n++
	id := fmt.Sprintf("r%d", c.n)
	c.send(envelope(c.t, id, path, data))
	a := c.read()
	if a.ID != id {
		c.t.Fatalf("reply to %s has id %q; want %q", path, a.ID, id)
	}
	if err := json.Unmarshal(a.Data, into); err != nil {
		c.t.Fatalf("reply to %s: %s: %v", path, a.Data, err)
	}
}

// fails sends a request that must be answered with an error of the given code.
func (c *client) fails(path string, data any, code wire.ErrorCode) {
	c.t.Helper()
	var f failure
	c.request(path, data, &f)
	if f.Code != code || f.Error == "" {
		c.t.Fatalf("%s: %+v; want an error with code %q", path, f, code)
	}
}

// identity is what /whoami answers.
type identity struct{ Socket, Gateway, Instance string }

func (c *client) whoami() identity {
	c.t.Helper()
	var id identity
	c.request("/whoami", nil, &id)
	return id
}

// closed reads until the connection ends and returns how.
func (c *client) closed(within time.Duration) *websocket.CloseError {
	c.t.Helper()
	for {
		_, err := c.tryRead(within)
		if err == nil {
			continue
		}
		var ce *websocket.CloseError
		if !errors.As(err, &ce) {
			c.t.Fatalf("read: %v; want a close frame", err)
		}
		return ce
	}
}

func envelope(t *testing.T, id, path string, data any) string {
	t.Helper()
	m := map[string]any{"path": path}
	if id != "" {
		m["id"] = id
	}
	if data != nil {
		m["data"] = data
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parseNode returns the node of an incarnation's name.
func parseNode(s string) (string, error) {
	inc, err := wire.ParseIncarnation(s)
	return string(inc.Node), err
}
