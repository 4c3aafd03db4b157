// Package gateway accepts WebSocket clients and carries their messages to
// services and back.
//
//	bp, err := backplane.Open(ctx, "redis://localhost:6379", backplane.Config{})
//	gw, err := gateway.New("public", bp, gateway.Config{})
//	go gw.Run(ctx)
//	http.Handle("/ws", gw)
//	...
//	err = gw.Drain(ctx) // on SIGTERM; Run returns when it is complete
//
// A client's message names a path. The gateway looks it up in the table of routes
// that services have announced, pins the socket to an instance of the service that
// handles it, the first time it is used, and sends the message there over the
// backplane, its bytes unchanged. What the service sends goes to the client in the
// order in which it was sent. What clients see of this is in docs/protocol.md.
//
// # Guarantees
//
// Messages of one client reach each service in order, each at most once and
// without gaps until the connection ends; the same holds for what one service
// sends to one client. A message that cannot be sent on is answered with an error.
//
// A service learns of the end of a socket exactly once, after the socket's last
// message, however the end came about.
//
// Memory is bounded per client: what a service may send ahead of the client is
// Config.ReplyWindow, and while a service is slow its clients' TCP connections are
// not read. One client or service that is slow does not delay others.
//
// An idle connection has one goroutine, parked in a read, and no timer of its own.
//
// # Not guaranteed
//
// A message that was on its way when a connection, a link or an instance broke may
// have been handled or not. Messages of different services to one client are not
// ordered among each other.
//
// # Lifecycle
//
// [New] starts nothing. [Gateway.Run] joins the registry, lets clients in, and
// returns when everything has ended, either because its context ended (sockets
// are closed at once) or because [Gateway.Drain] has emptied the gateway. A gateway
// runs once.
//
// # Concurrency
//
// All methods may be called from any goroutine. Each connection has a read loop,
// which alone pins and sends to services, and while there is something to write, a
// writer; frames from services are queued by the goroutine that receives them.
package gateway
