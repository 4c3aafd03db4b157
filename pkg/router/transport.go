package router

import (
	"context"
	"net/http"
	"net/url"
)

// Conn is the transport under a socket. Package service implements it on a stream
// to a gateway, [Router.ServeHTTP] on a WebSocket.
type Conn interface {
	// Send hands one message to the client. It blocks while the transport is out
	// of credit, until ctx ends. It is called from any goroutine. It must not keep
	// m.Data after it returned.
	Send(ctx context.Context, m Outgoing) error
	// Close asks for the end of the client's connection. It does not block and may
	// be called more than once; the first call counts. SocketHandler.End follows.
	Close(status Status, reason string)
	// Consumed tells that a delivered message of n bytes left the socket's queue,
	// so that credit may be returned. It does not block.
	Consumed(n int)
}

// Outgoing is an encoded message for the client.
type Outgoing struct {
	Type MessageType
	Data []byte
	// ID is set when a handler waits for the client's answer under that id, or made
	// the id itself and may wait, so that a gateway can route an answer that has no
	// path.
	ID string
}

// SocketInfo is what is known about a client when its socket starts.
type SocketInfo struct {
	// ID names the socket for as long as it lives. Empty: a random one is made.
	ID string
	// RemoteAddr is the client's address, host:port, or the host alone if a proxy told no port.
	RemoteAddr string
	// Headers are the allow-listed headers of the handshake. Sec-WebSocket-Protocol
	// is replaced by Subprotocol. The router may change the map.
	Headers http.Header
	// Query holds the parameters of the handshake's URL.
	Query url.Values
	// Subprotocol is the negotiated one; empty if the client named none.
	Subprotocol string
	// Gateway is the name of the gateway that accepted the client; empty without one.
	Gateway string
	// GatewayNode is the node of that gateway: which of the replicas that share the
	// name it is.
	GatewayNode string
	// Instance is the node that runs the handlers; empty without a backplane.
	Instance string
	// Identity is who the client is, as its gateway established it; zero: anonymous.
	Identity Identity
	// Public is true for a socket that came through a gateway: only nodes made by
	// Use and PublicBind exist for it.
	Public bool
}

// SocketHandler is one socket as its transport sees it.
type SocketHandler interface {
	// Deliver hands over one message of the client. It never blocks: what bounds
	// the queue is the credit that the transport gives the client. The handler
	// keeps data. Messages delivered after End are dropped.
	Deliver(mt MessageType, data []byte)
	// End tells that the socket is gone. With finish, queued messages are still
	// handled and their answers sent; without, contexts are cancelled and the queue
	// is dropped. UseClose handlers run once, after the last handler has returned.
	// Only the first End counts, except that a later one without finish cancels
	// what an earlier one left to finish.
	End(status Status, reason string, source CloseSource, finish bool)
	// SetIdentity tells who the client is from now on. Handlers see it at once.
	SetIdentity(Identity)
	// Done is closed when the UseClose handlers have run. Nothing is sent after it.
	Done() <-chan struct{}
	// Pending counts the messages that are queued or being handled.
	Pending() int
}
