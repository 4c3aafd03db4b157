// Package push sends messages to sockets wherever they are connected: to one socket,
// to all sockets of a user, to a group, to everybody, or to everybody on the gateways
// of a name.
//
//	hub := push.Of(bp)
//	r, err := hub.Push(ctx, push.Message{
//		To: router.ToUser("alice"), Path: "/notify", Data: map[string]string{"text": "hi"},
//	})
//
// In a handler, ctx.Push, ctx.JoinGroup, ctx.LeaveGroup and ctx.SetUser of package
// router do the same. Clients cannot push: only handlers, and programs that open a
// backplane, can.
//
// # Guarantees
//
// Visibility: when JoinGroup or SetUser has returned nil, every push to that group or
// user that begins later, on any node, reaches the socket. The same holds for the user
// that a client is authenticated as, once a handler knows of its socket. For that, a
// node that looks an audience up in Redis is noted there as a watcher; a gateway that
// gets the first member of an audience writes its entry, reads the watchers with the
// same script, tells them, and confirms the join when each of them has answered or is
// bound to look again. See docs/adr for why.
//
// A push that was sent reaches each socket at most once, and not less while its
// gateway lives and the client keeps up; pushes that one goroutine sends one after
// the other reach each socket in that order. Messages go only to gateways that have
// sockets of the target.
//
// The result tells for how many sockets the push was, to how many connections it was
// handed, why not to others, and which gateways did not answer.
//
// Presence: who watches a group (ctx.WatchGroup, [Hub.WatchGroup]) learns who is in it,
// and from then on who joins and who leaves: each member leaves exactly once, also when
// its gateway crashes, within two LeaseTTL, and when Redis loses its data. See docs/adr.
//
// A client that does not keep up delays no other: pushes beyond its window are dropped,
// conflated or wait, as the sender decided. Who sends with the policy wait is slowed
// down by the slowest receiver.
//
// # Not guaranteed
//
// Delivered means handed to the connection, not read by the client. After Redis lost
// data, or failed over to a replica that lacks the last writes, an audience may be
// incomplete for up to two LeaseTTL. Pushes of different senders, and pushes and
// replies, have no order among each other. A push to everybody goes to the gateways
// that the sender knows, which takes a new one up to 1.5 Poll; who watches a group
// learns as late of those on a new gateway. A member that joins and leaves at once may
// not be told of.
//
// # Lifecycle and concurrency
//
// There is one [Hub] for each backplane, made by [Of]. It has no goroutine of its own
// while it is idle and ends with the backplane. All methods may be called from any
// goroutine.
package push
