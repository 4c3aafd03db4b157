// Package registry keeps, in Redis, who is alive, who serves what, and which socket
// is pinned to which instance.
//
// Every node of a namespace runs one [Registry]. A node that calls
// [Registry.Announce] is an instance of a service and shows its routes to the
// gateways; one that calls [Registry.JoinGateway] is a gateway and may pin sockets to
// instances; a node may be both, or neither and only look at the [View].
//
// # Guarantees
//
// The count of an instance equals the number of pins that name it, after every
// script and for every name, also of a dead instance ([Check] verifies it). A pin
// goes to the serving instance with the fewest pins, cluster-wide and exactly. Two
// living services never announce equal patterns to one gateway.
//
// After a crash of any node, everybody's view, the counts and the routes are right
// within two LeaseTTL, as long as Redis answers. The same holds after Redis lost all its data, or the tail
// of it: what is in Redis is written again from what the living nodes remember, and
// nobody is taken for dead because of it. When Redis does not answer, calls fail in
// bounded time, the view stays as it was, and nobody is declared dead.
//
// # How
//
// Every change is one Lua script that touches one slot of a Redis Cluster:
// "{<service>.0}", or "{routes}" for the route table. The keys are in keys.go; each
// script says what makes it atomic.
//
// A lease is a member of a sorted set with its deadline. Deadlines are compared on
// the lease clock of their slot, inside scripts: it follows Redis TIME, except that
// it does not count time in which nobody could renew. A gap of more than a third of
// the TTL between two ticks (Redis hung, was restarted, or everybody was suspended)
// counts as a third and starts a hold of one TTL, in which a lease counts for 4/3 of
// the TTL longer. So nobody whose lease was good when Redis stalled is removed within
// one TTL after the stall. And because the extension counts from each lease's own
// deadline, the dead go within 7/3 TTL of the lease clock however often Redis stalls.
//
// Anyone removes those whose lease has expired, in pieces of a few hundred pins;
// exactly once, because the script counts what it removed. A pin avoids instances
// that have not renewed for half a TTL, or since the last stall, while there are
// others.
//
// A gateway remembers its pins. With each renewal it tells Redis their number and
// checksum; renewals travel in order with its pins and unpins, so that the two must
// agree. When they do not, when its lease is gone, or when Redis has forgotten it,
// the gateway becomes a new generation: it writes its pins again under a new lease
// member, which fences off all late exchanges of the one before. That one path is
// the answer to FLUSHALL, to a failover that lost the last writes, to an exchange
// that was given up and arrived late, and to being declared dead by mistake. The
// generation has nothing to do with the node's incarnation: links and sockets do not
// notice.
//
// Pins and unpins of a service are coalesced: what gathers while an exchange is
// under way goes with the next one, in one script call. There is no timer, hence no
// delay when idle. An exchange of unknown outcome is repeated; every operation is
// idempotent. A Pin whose caller gave up becomes an unpin.
//
// A node that left or died is remembered in Redis for a minute, as a gateway of users
// and groups for an hour. That is how a view tells death from lost data: a member that
// vanished without such a trace stays in the view until it has been missing for a
// LeaseTTL.
//
// # Not guaranteed
//
// A pin can name an instance that has just died. Counts in the view are up to 1.5
// Poll old. Notifications of changes may be lost; the poll finds every change. All
// nodes of a namespace should use the same LeaseTTL. What remains in Redis of a
// service that nobody uses any more are its clock and version: a few hundred bytes.
//
// # Lifecycle and concurrency
//
// [New] starts nothing and does not talk to Redis. [Registry.Run] does the work and
// returns when all its goroutines have ended; it says no goodbye, so call
// [Registry.Withdraw] and [Registry.LeaveGateway] before. All methods may be called
// from any goroutine. The goroutines are: one that renews what this node announced,
// one that reaps, one that keeps the view and calls listeners, one that listens for
// notifications, and one per service that this node pins in.
//
// # Example
//
//	r, err := registry.New(registry.Config{Client: client, Self: self})
//	go r.Run(ctx)
//	err = r.Announce(ctx, registry.Service{Name: "chat", Routes: routes})
//	...
//	err = r.JoinGateway(ctx, "public")
//	at, err := r.Pin(ctx, "chat", socket) // at.Node is where its messages go
//	r.Unpin("chat", socket)
package registry
