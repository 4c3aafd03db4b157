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
		{Number: 24, Name: "slow handler", Backend: Standalone, anywhere: true, inject: slowHandler},
		{Number: 25, Name: "client that never reads", Backend: Standalone, anywhere: true, inject: deafClient},
		{Number: 29, Name: "client vanishes mid-frame", Backend: Standalone, anywhere: true, inject: vanishingClient},
	}
}

// guest is a client that is not part of the crowd.
type guest struct {
	*websocket.Conn
	url      string // of its gateway
	socket   string
	instance string // that it is pinned to
}

// guest connects one to a gateway and has it pinned.
func (e *experiment) guest(ctx context.Context, url string) (*guest, error) {
	ws, err := dial(ctx, url)
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: ws, url: url}
	var who struct {
		Data struct {
			Socket, Instance string
			failure
		}
	}
	if err := g.ask(&who, dialTimeout, `{"path":"/whoami","id":"1"}`); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	g.socket, g.instance = who.Data.Socket, who.Data.Instance
	if g.socket == "" {
		return nil, errors.Join(violation("a guest was refused with "+who.Data.Code), ws.Close())
	}
	return g, nil
}

// someURL is that of one of the gateways.
func (e *experiment) someURL() string {
	serving := e.serving()
	return serving[e.rand.IntN(len(serving))].URL()
}

// ask sends a message and reads the next that comes.
func (g *guest) ask(answer any, within time.Duration, message string) error {
	if err := g.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		return err
	}
	if err := g.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return g.ReadJSON(answer)
}

// slowHandler keeps a handler busy with more than its socket's window holds. It must
// not keep up others that share the gateway, the instance and the link between them.
func slowHandler(ctx context.Context, e *experiment) error {
	slow, err := e.guest(ctx, e.someURL())
	if err != nil {
		return err
	}
	defer func() { _ = slow.Close() }()
	other, err := e.neighbor(ctx, slow)
	if err != nil {
		return err
	}
	defer func() { _ = other.Close() }()
	fill := strings.Repeat("x", 32<<10)
	if err := slow.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	full := false
	for range 1000 { // until the window is full and TCP takes no more
		full = slow.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/sleep","data":{"ms":3000,"fill":"%s"}}`, fill)) != nil
		if full {
			break
		}
	}
	if !full {
		return violation("a gateway took 32 MB for a handler that sleeps")
	}
	for range 20 {
		if err := other.ask(&message{}, MaxRecovery, `{"path":"/count","id":"1"}`); err != nil {
			return violation("a slow handler holds up another socket of its instance: " + err.Error())
		}
	}
	return nil
}

// neighbor connects a guest that shares gateway and instance with g.
func (e *experiment) neighbor(ctx context.Context, g *guest) (*guest, error) {
	for range 20 {
		n, err := e.guest(ctx, g.url)
		if err != nil || n.instance == g.instance {
			return n, err
		}
		defer func() { _ = n.Close() }() // until then it keeps its instance from being chosen again
	}
	return nil, errors.New("no other socket was pinned to the instance of a guest")
}

// deafClient asks for a lot and does not read it, until it is closed for that.
func deafClient(ctx context.Context, e *experiment) error {
	deaf, err := e.guest(ctx, e.someURL())
	if err != nil {
		return err
	}
	defer func() { _ = deaf.Close() }()
	if err := deaf.WriteMessage(websocket.TextMessage, []byte(`{"path":"/flood","data":{"n":4000,"size":16384}}`)); err != nil {
		return err
	}
	if !until(ctx, patience, func() bool { return e.closedWith(deaf.socket) == websocket.ClosePolicyViolation }) {
		return violation(fmt.Sprintf("a client that read nothing was not closed with %d within %v, but %d",
			websocket.ClosePolicyViolation, patience, e.closedWith(deaf.socket)))
	}
	return nil
}

// vanishingClient breaks connections in the middle of a frame. Their sockets must end,
// and their pins go.
func vanishingClient(ctx context.Context, e *experiment) error {
	var sockets []string
	for range 20 {
		g, err := e.guest(ctx, e.someURL())
		if err != nil {
			return err
		}
		sockets = append(sockets, g.socket)
		conn := g.NetConn()
		// A masked text frame of 100 bytes, of which 10 come.
		if _, err := conn.Write(append([]byte{0x81, 0x80 | 100, 1, 2, 3, 4}, "0123456789"...)); err != nil {
			return err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as from a crash
		}
		_ = conn.Close()
	}
	var left []string
	gone := until(ctx, e.within(MaxCountDelay), func() bool {
		left = nil
		for _, socket := range sockets {
			if pinned, err := e.isPinned(ctx, socket); err != nil || pinned || e.closedWith(socket) == 0 {
				left = append(left, socket)
			}
		}
		return len(left) == 0
	})
	if !gone {
		return violation(fmt.Sprintf("%d sockets of clients that vanished are still there after %v", len(left), e.within(MaxCountDelay)))
	}
	return nil
}

// isPinned reports whether Redis has a pin of a socket.
func (e *experiment) isPinned(ctx context.Context, socket string) (bool, error) {
	owner, err := e.backend.owner(ctx, serviceKey(""))
	if err != nil {
		return false, err
	}
	hashes, err := owner.Client().Keys(ctx, serviceKey("p:*")).Result()
	if err != nil {
		return false, err
	}
	for _, h := range hashes {
		if pinned, err := owner.Client().HExists(ctx, h, socket).Result(); err != nil || pinned {
			return pinned, err
		}
	}
	return false, nil
}

// newcomers is how many clients may find an instance while Redis takes no data.
const newcomers = 5

// isRefused connects a client and reports whether it is told to come back later.
func (e *experiment) isRefused(ctx context.Context) (bool, error) {
	ws, err := dial(ctx, e.someURL())
	if err != nil {
		return false, err
	}
	newcomer := &guest{Conn: ws}
	defer func() { _ = newcomer.Close() }()
	var answer message
	if err := newcomer.ask(&answer, dialTimeout, `{"path":"/count","id":"1"}`); err != nil {
		return false, violation("a new socket got no answer while Redis took no data: " + err.Error())
	}
	if answer.Data.Code == "" {
		return false, nil
	}
	if !answer.Data.advised() {
		return false, violation(fmt.Sprintf("a new socket got %+v while Redis took no data", answer.Data))
	}
	return true, nil
}

// outOfMemory lets Redis take no more data, for longer than a gateway waits for a pin
// and than leases last. New sockets must be told so, and the others go on.
func outOfMemory(ctx context.Context, e *experiment) (err error) {
	if err := e.configure(ctx, "maxmemory", "1"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.configure(ctx, "maxmemory", "0")) }()
	// A script that begins with a removal may still write in this state, so that a few
	// pins succeed.
	refused := false
	for tries := 0; !refused && tries < newcomers; tries++ {
		if refused, err = e.isRefused(ctx); err != nil {
			return err
		}
	}
	if !refused {
		return violation("no new socket was refused while Redis took no data")
	}
	since := time.Now()
	if !until(ctx, MaxRecovery, func() bool { return e.crowd.residentsMoving(since) }) {
		return violation("existing sockets do not go on while Redis takes no data")
	}
	return nil
}
