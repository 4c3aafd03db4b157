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
// # Guarantees
//
// A socket's open handlers run before its first message and its close handlers
// run once. What a handler sends reaches the client in the order of the sends. The
// router sees the client's address, the headers that the gateway forwards and the
// negotiated subprotocol.
//
// # Not guaranteed
//
// Velaros starts a goroutine for each message, so two messages of one socket may be
// handled in either order, here as in any Velaros program: only messages with the
// same id follow one another. (A router of package pkg/router handles the messages
// of a socket one at a time, in order.) For the same reason a slow handler does not
// hold up its client, and the messages that [Gateway] forwards may overtake one
// another on their way to it; from the gateway on, their order is kept.
//
// A close that the server's side began is reported to close handlers as 1001
// (going away), without a reason: a Velaros connection cannot say more. The
// client's reason is not reported either.
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
