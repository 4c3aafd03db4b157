// Package router routes the messages of WebSocket clients to handlers by their path.
//
// Its API is that of Velaros (github.com/RobertWHurst/velaros): a Velaros service
// ports by changing imports. What differs stands under "Differences" below.
//
//	r := router.NewRouter()
//	r.Use(json.Middleware())
//	r.PublicBind("/users/:id", func(ctx *router.Context) {
//		ctx.Send(users[ctx.Params().Get("id")])
//	})
//	err := service.New("users", bp, r, service.Config{}).Run(ctx) // behind gateways
//	http.Handle("/ws", r)                                         // or without any
//
// # Handlers
//
// The handlers of a router run in the order in which Use, Bind and PublicBind added
// them, as far as their patterns fit the message, and only as long as each calls
// [Context.Next]. Middleware decodes the message: package middleware/json and its
// siblings read id, path, data and meta from the client's envelope. Whatever calls
// [Context.SetMessagePath] decides how the message goes on.
//
// Bind makes private routes, PublicBind public ones. For a socket that came through
// a gateway private nodes do not exist, in mounted routers neither, and a message
// whose path is not a public route goes no further than the middleware that decoded
// the path.
//
// Limits of a public route are given beside its handlers: [WithRate],
// [WithMaxBytes] and [WithSchema]. Gateways enforce them, so that what is over them
// does not reach the service; a router that is served directly does not.
//
// A panic in a handler is recovered. It appears in [Context.Error], which ends the
// chain, and is logged with its stack. A message that fails, or that no handler
// takes, is answered with an error envelope, unless handlers sent something for it;
// see [Context].Error. The codes are those of package wire: bad_message, no_path,
// no_route, internal, or that of an [Error].
//
// # Order
//
// Messages of one socket are handled one at a time, in the order of their arrival.
// The handler at work has the socket's turn. It passes it on when it returns, when
// it waits for the client in Receive or Request, and when it has held the turn for
// Config.TurnTimeout; the next message is handled beside it then. So nothing
// deadlocks, and messages whose handlers are quick never overtake each other. Time
// spent in a Send that waits for a slow client does not count as holding the turn:
// answers are not reordered because the client is slow. At most Config.MaxHandlers
// messages of one socket are handled side by side.
//
// Messages for a handler that waits, or has waited, in Receive or Request need no
// turn: they go to it directly.
//
// UseOpen handlers run before the socket's first message; none is handled until they
// have returned, however long they take. UseClose handlers run exactly once, after
// all others have returned.
//
// # Not guaranteed
//
// A handler that ignores the end of its context keeps its socket from ending. Sockets
// of one client know nothing of each other, and nothing is kept when a socket ends.
// The size of the queue is bounded by the credit of the transport, not here.
//
// # Lifecycle and concurrency
//
// A router starts nothing until ServeSocket or ServeHTTP is called; a socket has a
// goroutine only while it has messages to handle, and ends as [SocketHandler.End]
// describes. Routers may be changed while they serve. For Contexts see there.
//
// # Differences
//
// Differences from Velaros 1.27, all of them deliberate:
//
//   - Velaros handles every message of a socket at once, in any order.
//   - A client may answer without a path; Velaros finds the waiting handler only if
//     the answer has one.
//   - Request makes an id if the client's message had none. What is sent for a
//     message without an id has none either, unless MessageID was called.
//   - Errors and unknown paths that nothing deals with are answered.
//   - A Context that was kept after its handler returned never reaches another's
//     message.
//   - Encodings pass on what other subprotocols have to decode.
//   - Paths in a mounted router are taken below the mount path, as its route
//     descriptors always were; patterns that repeat the mount path work as well.
//   - In patterns, a dot is a dot, and (a|b)+ repeats all of a|b.
//   - The context of UseClose handlers is not cancelled.
//   - What drives a router (HandleConnection, NewSocket, NewContext) is ServeSocket
//     here, and there is no Middleware for Navaros.
package router
