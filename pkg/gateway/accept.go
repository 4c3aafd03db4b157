package gateway

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// client is what handlers get to know about the other side of a connection.
type client struct {
	remoteAddr  string // with a port, if that is known
	ip          netip.Addr
	path, query string // of the handshake's URL
	subprotocol string // the negotiated one; "" when the client named none
	headers     []wire.HeaderField
	// identity is who the client is, nil for an anonymous one. It is replaced when
	// the client renews its credential; see conn.identify.
	identity atomic.Pointer[wire.Identity]
	shares   shares
}

// who returns the client's identity.
func (c *client) who() wire.Identity {
	if i := c.identity.Load(); i != nil {
		return *i
	}
	return wire.Identity{}
}

// maxClient is how much of a handshake may be forwarded, in bytes: each socket
// holds it, and each instance gets it.
const maxClient = 16 << 10

// credentialPrefix marks entries of Sec-WebSocket-Protocol that name no
// subprotocol: browsers have no other header to put a credential in.
const credentialPrefix = auth.SubprotocolPrefix

const protocolHeader = "Sec-Websocket-Protocol"

// ServeHTTP makes a WebSocket of the request. It returns when the handshake is
// done; the connection lives until Run or Drain end it. A request that is not
// accepted gets an HTTP status and {"error": text, "code": refusal}.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		g.turnAway(w, http.StatusUpgradeRequired, RefuseNotWebSocket, "connect with a WebSocket client")
		return
	}
	if client, encoding, ok := g.screen(w, r); ok {
		g.upgrade(w, r, client, encoding)
	}
}

// screen lets a client in, which then has its place and its shares, or answers why
// not. A handshake is in the gate until it is known who the client is: before that
// client can know, so that whoever was answered has made room.
func (g *Gateway) screen(w http.ResponseWriter, r *http.Request) (c *client, encoding envelope.Encoding, ok bool) {
	if refusal, wait := g.gate.enter(); refusal != "" {
		limit := LimitHandshakes
		if refusal == RefuseAcceptRate {
			limit = LimitConnectionRate
		}
		g.hooks.Limited(ScopeGateway, limit)
		g.turnAwayFor(w, http.StatusServiceUnavailable, refusal, wait, "this gateway has too many handshakes now; try again")
		return nil, 0, false
	}
	defer g.gate.leave()
	if status, text := checkHandshake(r); status != 0 {
		w.Header().Set("Sec-Websocket-Version", "13")
		w.Header().Set("Connection", "close") // and a body is not waited for
		g.turnAway(w, status, RefuseNotWebSocket, text)
		return nil, 0, false
	}
	subprotocol, encoding, ok := negotiate(r.Header)
	if !ok {
		g.turnAway(w, http.StatusBadRequest, RefuseSubprotocol,
			"none of the offered subprotocols is known; offer one of "+strings.Join(envelope.Subprotocols(), ", ")+", or none for JSON")
		return nil, 0, false
	}
	if !g.originAllowed(r) {
		g.turnAway(w, http.StatusForbidden, RefuseOrigin, "pages of this origin may not connect")
		return nil, 0, false
	}
	client, ok := g.describe(r, subprotocol)
	if !ok {
		g.turnAway(w, http.StatusRequestHeaderFieldsTooLarge, RefuseTooLarge, "the handshake is too large")
		return nil, 0, false
	}
	if refusal := g.admit(); refusal != "" {
		w.Header().Set("Retry-After", "1")
		g.turnAway(w, http.StatusServiceUnavailable, refusal, "this gateway takes no connections now; try another one")
		return nil, 0, false
	}
	if !g.share(w, r, client, quota.Address, addressName(client.ip)) {
		g.dismiss()
		return nil, 0, false
	}
	if refusal := g.authenticate(r, client); refusal != nil {
		client.shares.release()
		g.dismiss()
		g.turnAwayUnknown(w, refusal)
		return nil, 0, false
	}
	if !g.share(w, r, client, quota.User, client.who().User) {
		client.shares.release()
		g.dismiss()
		return nil, 0, false
	}
	return client, encoding, true
}

// turnAway answers a handshake that is not accepted.
func (g *Gateway) turnAway(w http.ResponseWriter, status int, why Refusal, text string) {
	g.hooks.Refused(why)
	// The answer waits for the request's body, which may never come.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.HandshakeTimeout)) // fails where nothing is to wait for
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text, "code": string(why)}) // fails only if the client left
}

// turnAwayFor is turnAway with the time after which to try again.
func (g *Gateway) turnAwayFor(w http.ResponseWriter, status int, why Refusal, wait time.Duration, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	g.turnAway(w, status, why, text)
}

// upgrade does the handshake for a client that admit has let in.
func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request, client *client, encoding envelope.Encoding) {
	hijack := &hijacker{ResponseWriter: w}
	header := http.Header{}
	if client.subprotocol != "" {
		header.Set(protocolHeader, client.subprotocol)
	}
	upgrader, deflate := g.upgrader, g.deflater != nil && offersDeflate(r.Header)
	if deflate {
		upgrader = g.deflater
	}
	// Of what this returns nothing is kept: frames are read and written here.
	if _, err := upgrader.Upgrade(hijack, r, header); err != nil {
		g.log.Debug("a handshake failed", "remote", client.remoteAddr, "err", err)
		client.shares.release()
		g.dismiss()
		return
	}
	c := &conn{
		g:        g,
		id:       push.SocketID(rand.Text(), g.bp.Self().Node),
		nc:       hijack.nc,
		encoding: encoding,
		client:   client,
		opened:   time.Now(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.changed.L = &c.mu
	c.ids.limit = g.cfg.MaxConversations
	c.write = c.writeLoop
	c.limits = g.newLimiter()
	c.alive()
	c.in.r, c.in.deflate = hijack.r, deflate
	c.in.r.Reset((*tap)(c)) // it is empty: Upgrade saw to that
	g.add(c)
	c.authenticated(client.who().User)
	go c.run()
}

// newUpgrader returns what speaks the handshake. The connection's own writer frames
// messages, so gorilla/websocket gets no write buffer to hold on to. With deflate it
// answers that messages are compressed, each for itself.
func (g *Gateway) newUpgrader(deflate bool) *websocket.Upgrader {
	return &websocket.Upgrader{
		EnableCompression: deflate,
		HandshakeTimeout:  g.cfg.HandshakeTimeout,
		WriteBufferPool:   new(sync.Pool),
		CheckOrigin:       func(*http.Request) bool { return true }, // ServeHTTP has done it
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-Websocket-Version", "13")
			g.turnAway(w, status, RefuseNotWebSocket, reason.Error())
		},
	}
}

// hijacker keeps the connection that gorilla/websocket takes over, and the buffer
// that it is read with.
type hijacker struct {
	http.ResponseWriter
	nc net.Conn
	r  *bufio.Reader
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.nc, h.r = nc, rw.Reader
	if h.r.Size() < minReadSize {
		h.r = bufio.NewReaderSize(nc, minReadSize)
	}
	return nc, rw, nil
}

// negotiate picks the subprotocol: the first that the client offers and this
// gateway speaks; none if it offers none. ok is false if it offers only others.
func negotiate(h http.Header) (subprotocol string, e envelope.Encoding, ok bool) {
	offered := false
	for _, line := range h[protocolHeader] {
		for s := range strings.SplitSeq(line, ",") {
			s = strings.TrimSpace(s)
			if s == "" || strings.HasPrefix(s, credentialPrefix) {
				continue
			}
			if e, ok = envelope.FromSubprotocol(s); ok {
				return s, e, true
			}
			offered = true
		}
	}
	return "", envelope.JSON, !offered
}

// describe collects what handlers may know about a client. ok is false if that is
// too much to keep.
func (g *Gateway) describe(r *http.Request, subprotocol string) (c *client, ok bool) {
	ip, remote := g.locate(r)
	c = &client{
		remoteAddr:  remote,
		ip:          ip,
		path:        r.URL.Path,
		query:       r.URL.RawQuery,
		subprotocol: subprotocol,
	}
	if g.cfg.Authenticator != nil {
		c.query = auth.StripQuery(c.query)
	}
	size := len(c.path) + len(c.query)
	for _, name := range g.headers {
		for _, v := range r.Header[name] {
			c.headers = append(c.headers, wire.HeaderField{Name: name, Value: v})
			size += len(name) + len(v)
		}
	}
	return c, size <= maxClient
}

// forwardHeaders returns the names of the headers that handlers may see, in
// canonical form. Sec-WebSocket-Protocol is never among them: it may hold a
// credential, and the negotiated subprotocol is forwarded anyway.
func forwardHeaders(names []string) []string {
	var list []string
	for _, n := range names {
		if n = textproto.CanonicalMIMEHeaderKey(n); n != protocolHeader {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
