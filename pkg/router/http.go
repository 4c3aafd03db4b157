package router

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// ServeHTTP serves a client that connects to the router itself, without a gateway:
// for development, and for services that need none. Private routes exist for such
// clients too. ServeHTTP returns when the socket's UseClose handlers have run.
//
// Requests that do not ask for a WebSocket, or ask only for subprotocols that nobody
// speaks here, are answered with 400; pages of other origins than Config.Origins
// with 403.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !websocket.IsWebSocketUpgrade(req) {
		http.Error(w, "this address serves WebSocket connections", http.StatusBadRequest)
		return
	}
	config := r.config.Load()
	subprotocol, ok := negotiate(websocket.Subprotocols(req))
	if !ok {
		http.Error(w, "none of the requested subprotocols is supported; use one of "+
			strings.Join(envelope.Subprotocols(), ", ")+" or none", http.StatusBadRequest)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: config.allowsOrigin}
	if subprotocol != "" {
		upgrader.Subprotocols = []string{subprotocol}
	}
	ws, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return // the upgrader has answered
	}
	c := &httpConn{ws: ws, config: config, done: make(chan struct{}), credit: make(chan struct{}, 1)}
	socket := r.ServeSocket(SocketInfo{
		RemoteAddr:  req.RemoteAddr,
		Headers:     req.Header,
		Query:       req.URL.Query(),
		Subprotocol: subprotocol,
	}, c)
	var pings sync.WaitGroup
	if config.PingInterval > 0 {
		pings.Go(c.ping)
	}
	status, reason, source := c.read(socket, subprotocol)
	close(c.done)
	socket.End(status, reason, source, false)
	<-socket.Done()
	_ = ws.Close()
	pings.Wait()
}

// negotiate picks the first subprotocol of the client that is known here.
func negotiate(offered []string) (string, bool) {
	for _, s := range offered {
		if _, ok := envelope.FromSubprotocol(s); ok && s != "" {
			return s, true
		}
	}
	return "", len(offered) == 0
}

// allowsOrigin reports whether the page that connects may do so. Clients that are no
// browsers send no origin.
func (c *Config) allowsOrigin(req *http.Request) bool {
	origin := req.Header.Get("Origin")
	if origin == "" || len(c.Origins) == 0 {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Host)
	for _, pattern := range c.Origins {
		target := host
		if strings.Contains(pattern, "://") {
			target = u.Scheme + "://" + host
		}
		if ok, _ := path.Match(strings.ToLower(pattern), target); ok || pattern == "*" {
			return true
		}
	}
	return false
}

// httpConn is the transport of a client that connected by ServeHTTP.
type httpConn struct {
	ws     *websocket.Conn
	config *Config
	done   chan struct{} // closed when reading has ended
	credit chan struct{} // signals that used has fallen

	writing sync.Mutex

	mu     sync.Mutex // guards what follows
	used   int        // of the window, by messages in the socket's queue
	failed *ending    // why we ended the connection
	gone   bool       // the client does not take pings any more
}

const (
	// closeWait is how long a client may take to answer a close frame.
	closeWait = 5 * time.Second
	// slowConsumer is the reason given to a client that does not take its messages.
	slowConsumer = "slow_consumer"
)

// Send writes a message.
func (c *httpConn) Send(_ context.Context, m Outgoing) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	select {
	case <-c.done:
		return ErrSocketClosed
	default:
	}
	if c.config.WriteTimeout > 0 {
		_ = c.ws.SetWriteDeadline(time.Now().Add(c.config.WriteTimeout)) // fails only on a closed connection
	}
	err := c.ws.WriteMessage(int(m.Type), m.Data)
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.fail(StatusPolicyViolation, slowConsumer, 0) // who takes nothing answers nothing
	}
	return err
}

// Close sends a close frame and gives the client a moment to answer it.
func (c *httpConn) Close(status Status, reason string) { c.fail(status, reason, closeWait) }

// Consumed makes room in the window.
func (c *httpConn) Consumed(n int) {
	c.mu.Lock()
	c.used -= n + wire.DataOverhead
	c.mu.Unlock()
	c.signal()
}

// signal wakes who waits for room.
func (c *httpConn) signal() {
	select {
	case c.credit <- struct{}{}:
	default:
	}
}

// fail ends the connection from this side, after the client had time to answer the
// close frame; only the first cause counts.
func (c *httpConn) fail(status Status, reason string, patience time.Duration) {
	c.mu.Lock()
	if c.failed != nil {
		c.mu.Unlock()
		return
	}
	c.failed = &ending{true, status, reason, ServerCloseSource}
	c.mu.Unlock()
	c.signal()
	// Neither error matters: the connection may be gone already.
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(status), reason), time.Now().Add(patience))
}

// read delivers messages until the connection ends, and says how it did.
func (c *httpConn) read(socket SocketHandler, subprotocol string) (Status, string, CloseSource) {
	if c.config.MaxMessageBytes > 0 {
		c.ws.SetReadLimit(c.config.MaxMessageBytes)
	}
	c.ws.SetPongHandler(func(string) error { return c.alive() })
	encoding, _ := envelope.FromSubprotocol(subprotocol)
	for {
		if err := c.waitForRoom(socket); err != nil {
			return c.cause(err)
		}
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			return c.cause(err)
		}
		mt := MessageType(kind)
		if subprotocol != "" && mt != encoding.MessageType() {
			c.fail(StatusUnsupportedData, "wrong message type for "+subprotocol, closeWait)
			continue
		}
		c.mu.Lock()
		c.used += len(data) + wire.DataOverhead
		c.mu.Unlock()
		socket.Deliver(mt, data)
	}
}

// alive grants the client time until the answer to the next ping is due.
func (c *httpConn) alive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config.PingInterval < 0 || c.failed != nil {
		return nil
	}
	return c.ws.SetReadDeadline(time.Now().Add(c.config.PingInterval + c.config.PingTimeout))
}

// waitForRoom waits until the client may send again. It must not be thought dead
// for the time in which nobody listened.
func (c *httpConn) waitForRoom(socket SocketHandler) error {
	for {
		c.mu.Lock()
		full := c.used >= httpWindow && c.failed == nil && !c.gone
		c.mu.Unlock()
		if !full {
			return c.alive()
		}
		select {
		case <-c.credit:
		case <-socket.Done():
			return ErrSocketClosed
		}
	}
}

// cause says how the connection ended, given the error of the read.
func (c *httpConn) cause(err error) (Status, string, CloseSource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var closed *websocket.CloseError
	var timeout interface{ Timeout() bool }
	switch {
	case c.failed != nil:
		return c.failed.status, c.failed.reason, ServerCloseSource
	case errors.Is(err, websocket.ErrReadLimit):
		return StatusMessageTooBig, "", ServerCloseSource
	case errors.As(err, &closed):
		return Status(closed.Code), closed.Text, ClientCloseSource
	case errors.As(err, &timeout) && timeout.Timeout():
		return StatusAbnormalClosure, "no answer to pings", ClientCloseSource
	default:
		return StatusAbnormalClosure, "", ClientCloseSource
	}
}

// ping asks the client for a sign of life until reading has ended.
func (c *httpConn) ping() {
	ticker := time.NewTicker(c.config.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.config.PingTimeout)) != nil {
				c.mu.Lock()
				c.gone = true
				c.mu.Unlock()
				c.signal() // the next read tells why
				return
			}
		case <-c.done:
			return
		}
	}
}
