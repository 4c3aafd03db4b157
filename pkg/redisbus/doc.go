// Package redisbus carries datagrams between nodes over Redis pub/sub. It is the
// [link.Bus] of production; package link makes reliable links of it.
//
//	top, err := redisbus.ParseURL("redis://localhost:6379")
//	bus, err := redisbus.New(redisbus.Config{Topology: top, Node: "n1"})
//	mesh, err := link.NewMesh(link.Config{Bus: bus, ...})
//	go bus.Run(ctx)
//	go mesh.Run(ctx)
//
// A standalone server, or the master that sentinels name, has one lane:
//
//   - The publisher is the only writer. It takes one datagram of every source that
//     is ready, sends them as one pipeline, and waits for the replies; what becomes
//     ready meanwhile leaves together in the next pipeline. There is no timer, so
//     nothing is delayed while the bus is idle, and pipelines grow with the load.
//     More than one connection, or a command that is repeated, would reorder and
//     repeat datagrams.
//   - The subscriber is the only reader. It lives through sessions: one connection
//     and one goroutine that reads it. A session ends at the first error, when Redis
//     does not even answer pings, and when the canary does not come back.
//   - The canary publishes to a channel of this node and waits for it: the only
//     proof that writer and reader reach the same server. [Bus.CanaryAge] tells how
//     old the proof is.
//
// In a cluster channels are sharded: the braces in their names keep what belongs to
// one node in one slot. Each master has a publisher, and a source is with that of its
// slot's master; when the slot moves, it goes to the next one between two datagrams,
// so that order holds. The subscriber is connected to the master of the node's slot.
//
// go-redis notices neither a failover nor the move of a slot. Therefore sentinels, or
// the cluster, are asked each second who the masters are, and at once when something
// fails; connections to other servers are closed, and made again to the right ones.
//
// # Guarantees
//
// While no connection is lost, the datagrams of one source arrive in the order in
// which it gave them, once each. Every new confirmation of a subscription is told as
// a Gap before what follows it. While Redis is away, nothing spins, sources keep
// what they have, and traffic resumes within about 200 ms of its return.
//
// # Not guaranteed
//
// Datagrams are lost when a connection is, when nobody subscribes to their channel,
// or when Redis closes a subscriber that falls behind; neither a positive number of
// receivers nor its absence proves anything. After a failed publication the outcome
// is unknown. Making up for all that is package link's work.
//
// # Lifecycle and concurrency
//
// [New] starts nothing; [Bus.Run] connects, and returns when its context ends and
// all goroutines have ended, also while Redis hangs. All methods of [Bus] may be
// called from any goroutine, before Run too. Receivers and sources are called from
// the bus's own goroutines and must not block.
package redisbus
