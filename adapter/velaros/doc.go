// Package velarosadapter joins Boreas with routers of
// github.com/RobertWHurst/velaros, in both directions.
//
// [Handler] runs a Velaros router as a service behind Boreas gateways:
//
//	r := velaros.NewRouter()
//	r.Use(json.Middleware())
//	r.PublicBind("/chat/join", join)
//	err := service.New("chat", bp, velarosadapter.Handler(r), service.Config{}).Run(ctx)
//
// [Gateway] mounts a Boreas gateway in a Velaros router that is the front door:
//
//	r.Use(json.Middleware())
//	r.Use(velarosadapter.Gateway(gw)) // messages of announced paths go to services
//	r.Bind("/local", local)           // the others stay
//
// The package is a module of its own, so that Boreas itself does not depend on
// Velaros. Its repository has no go.sum: run "go mod tidy" in adapter/velaros, which
// downloads velaros v1.27.0 with what that needs and writes the sums, before you run
// its tests or the example.
//
// # Encodings
//
// The middleware of a Velaros encoding fails on sockets that negotiated another
// subprotocol. A router for several encodings calls the right one:
//
//	middleware := map[string]func(*velaros.Context){
//		"":                json.Middleware(),
//		"velaros-json":    json.Middleware(),
//		"velaros-msgpack": msgpack.Middleware(),
//	}
//	r.Use(func(ctx *velaros.Context) { middleware[ctx.Headers().Get("Sec-WebSocket-Protocol")](ctx) })
//
// # Guarantees
//
// A socket's open handlers run before its first message and its close handlers
// run once. What a handler sends reaches the client in the order of the sends. The
// router sees the client's address, the headers that the gateway forwards and the
// negotiated subprotocol.
//
// A message for a path that was not announced, or whose envelope is not valid, is
// answered with an error and reaches no handler, even if a gateway sends it.
//
// A client may answer what a handler asks it (Request, Receive) without a path. The
// router then sees the path of the last message with that id, because Velaros finds
// the waiting handler by path. The ids used last, 512 at least, are remembered per
// socket.
//
// # Not guaranteed
//
// Velaros starts a goroutine for each message, so two messages of one socket may be
// handled in either order, here as in any Velaros program. (A router of package
// pkg/router handles the messages of a socket one at a time, in order.) For the same
// reason a slow handler does not hold up its client, nothing bounds how many
// handlers of a client run at once, and the messages that [Gateway] forwards may
// overtake one another on their way to it; from the gateway on, their order is kept.
//
// An answer without a path that comes when its handler waits no longer starts the
// handler anew, as one with a path does in Velaros.
//
// Velaros does not tell when a handler has returned. When a service stops, a socket
// waits until something was sent for each message that had an id, for 5 s at most;
// handlers of messages without an id are cancelled.
//
// A close that the server's side began is reported to close handlers as 1001
// (going away), without a reason, unless a handler of the same router asked for it: a
// Velaros connection cannot say more. The client's reason is not reported either.
//
// A client of a Velaros front door whose service or gateway closes it may see its
// connection end without a close frame (status 1006): Velaros reads with a context
// that a close cancels, and its WebSocket library ends the connection with it.
//
// A private route is refused here as it is at the gateway, by the paths that were
// announced. If a public pattern covers the path of a private route of the same
// router, Velaros matches both: do not bind them so.
//
// # Lifecycle and concurrency
//
// A service's socket has one goroutine, Velaros's read loop, which ends with the
// socket. A mounted gateway has two for each socket that used it. Everything may be
// called from any goroutine.
package velarosadapter
