package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// clientFaults are clients and handlers that misbehave, beside the crowd.
func clientFaults() []Fault {
	return []Fault{
		{Number: 24, Name: "slow handler", Backend: Standalone, inject: slowHandler},
		{Number: 25, Name: "client that never reads", Backend: Standalone, inject: deafClient},
		{Number: 29, Name: "client vanishes mid-frame", Backend: Standalone, inject: vanishingClient},
	}
}

// bystander connects a client that is not part of the crowd.
func (e *experiment) bystander(ctx context.Context) (*websocket.Conn, error) {
	urls := e.urls()
	ws, _, err := websocket.DefaultDialer.DialContext(ctx, urls[e.rand.IntN(len(urls))], nil)
	return ws, err
}

// slowHandler keeps a handler busy with more than its socket's window holds.
func slowHandler(ctx context.Context, e *experiment) error {
	ws, err := e.bystander(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	fill := strings.Repeat("x", 32<<10)
	if err := ws.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	for range 1000 { // until the window is full and TCP takes no more
		if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/sleep","data":{"ms":3000,"fill":"%s"}}`, fill)) != nil {
			return nil
		}
	}
	return errors.New("a gateway took 32 MB for a handler that sleeps")
}

// deafClient asks for a lot and does not read it, until it is closed for that.
func deafClient(ctx context.Context, e *experiment) error {
	ws, err := e.bystander(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"path":"/whoami","id":"1"}`)); err != nil {
		return err
	}
	var who struct{ Data struct{ Socket string } }
	if err := ws.ReadJSON(&who); err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"path":"/flood","data":{"n":4000,"size":16384}}`)); err != nil {
		return err
	}
	closed := func() bool { return e.closedWith(who.Data.Socket) == websocket.ClosePolicyViolation }
	if !until(ctx, patience, closed) {
		return fmt.Errorf("a client that read nothing was not closed with %d within %v, but %d",
			websocket.ClosePolicyViolation, patience, e.closedWith(who.Data.Socket))
	}
	return nil
}

// vanishingClient breaks connections in the middle of a frame.
func vanishingClient(ctx context.Context, e *experiment) error {
	for range 20 {
		ws, err := e.bystander(ctx)
		if err != nil {
			return err
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"path":"/count","id":"1"}`)); err != nil {
			return err
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
		conn := ws.NetConn()
		// A masked text frame of 100 bytes, of which 10 come.
		if _, err := conn.Write(append([]byte{0x81, 0x80 | 100, 1, 2, 3, 4}, "0123456789"...)); err != nil {
			return err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as from a crash
		}
		_ = conn.Close()
	}
	return nil
}
