package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// client is a plain WebSocket client: one connection, one socket.
type client struct {
	ws *websocket.Conn
	n  int // requests
}

// envelope is a message, either way.
type envelope struct {
	Path string          `json:"path,omitempty"`
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data,omitempty"`
}

func dial(ctx context.Context, host string) (*client, error) {
	return dialWith(ctx, host, http.Header{})
}

// dialWith sends more headers.
func dialWith(ctx context.Context, host string, header http.Header) (*client, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	header.Set("Origin", "http://"+host)
	ws, resp, err := d.DialContext(ctx, "ws://"+host+"/ws", header)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, err
	}
	return &client{ws: ws}, nil
}

func (c *client) send(path string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	c.n++
	return c.ws.WriteJSON(envelope{Path: path, ID: strconv.Itoa(c.n), Data: b})
}

// read reads the reply with that number, which must be the next message.
func (c *client) read(n int, into any) error {
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var e envelope
	if err := c.ws.ReadJSON(&e); err != nil {
		return err
	}
	if e.ID != strconv.Itoa(n) {
		return fmt.Errorf("got the reply %q; want %d", e.ID, n)
	}
	var failure struct{ Code string }
	if json.Unmarshal(e.Data, &failure) == nil && failure.Code != "" {
		return refused(failure.Code)
	}
	return json.Unmarshal(e.Data, into)
}

// refused is the code of an error envelope.
type refused string

func (r refused) Error() string { return "answered with the error " + string(r) }

func (c *client) request(path string, data, into any) error {
	if err := c.send(path, data); err != nil {
		return err
	}
	return c.read(c.n, into)
}

// place is who serves a socket.
type place struct{ Socket, Client, Gateway, Instance string }

func (c *client) place() (p place, err error) {
	return p, c.request("/whoami", struct{}{}, &p)
}

// inOrder sends n numbered messages without waiting, and checks that the replies
// come in that order and that one instance counted all of them.
func (c *client) inOrder(n int) error {
	first := c.n + 1
	for range n {
		if err := c.send("/counter/add", struct{}{}); err != nil {
			return err
		}
	}
	for i := range n {
		var got struct{ Value int }
		if err := c.read(first+i, &got); err != nil {
			return err
		}
		if got.Value != i+1 {
			return fmt.Errorf("message %d was counted as %d", i+1, got.Value)
		}
	}
	return nil
}
