// Package service runs one instance of a service on a backplane: it announces the
// public routes of a router, takes the sockets that gateways pin to it, and hands
// their messages to the router's handlers.
//
//	bp, err := backplane.Open(ctx, "redis://localhost:6379", backplane.Config{})
//	if err != nil {
//		return err
//	}
//	r := router.NewRouter()
//	r.Use(json.Middleware())
//	r.PublicBind("/chat/join", join) // announced to gateways
//	r.Bind("/health", health)        // private
//	return service.New("chat", bp, r, service.Config{}).Run(ctx)
//
// # Guarantees
//
// A socket's messages are handed to its handlers in the order that the client sent
// them, each once. A message for a path that was not announced reaches no handler,
// even if a gateway sends it.
//
// UseClose handlers run once for each socket, after its last handler has returned:
// when the client leaves, when a handler closes the socket, when the gateway dies
// (status 1012, reason "gateway lost"), and when this instance stops (1012, "service
// restart" or "handed to another instance").
//
// The memory that one socket takes is bounded: the client sends at most a window
// ahead of the handlers (Config.SocketWindow), and Send blocks once the gateway
// holds what it allowed (its own window), until the client has read. A socket that
// is out of either holds back no other. The number of sockets is for the gateways
// to bound.
//
// A stop that finds living gateways loses and doubles nothing: what a gateway has
// sent is handled and answered, then the client's connection is closed, or the
// socket is handed back and its further messages go to another instance.
//
// # Not guaranteed
//
// A message that a client sent is not handled if its gateway or this instance dies
// first. Handlers that take longer than Config.DrainTimeout when the instance stops
// are cancelled. What is stored on a socket stays behind when it is pinned to
// another instance.
//
// # Lifecycle
//
// [New] starts nothing. [Service.Run] announces, serves until its context ends,
// drains and withdraws; [Service.Start] and [Service.Stop] are its two halves. A
// Service runs once. Several services may run on one backplane, which must be closed
// after them.
//
// # Concurrency
//
// All methods may be called from any goroutine. The handlers of different sockets
// run at the same time; for those of one socket see package router.
package service
