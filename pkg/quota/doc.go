// Package quota counts how much somebody does, on one gateway or on all of them
// together.
//
// A [Rate] says how much is allowed, and a [Bucket] whether it is kept, by one
// goroutine. A [Quota] holds what client addresses and users do within [Limits] over
// all gateways: connections at once, connections, messages and bytes per second.
//
//	q, err := quota.New(quota.Config{Client: client, Namespace: "boreas", Self: self, User: limits})
//	go q.Run(ctx)
//	c, excess := q.Connect(ctx, quota.User, "alice")
//	excess = c.Take(done, len(msg))
//	c.Close()
//
// # How
//
// The truth is in Redis: for each subject one hash, with its token buckets and, for
// each gateway, the connections that it has. A gateway leases tokens, some tenths of a
// second's worth, and spends them without asking; it asks for more before they are
// gone, and what was not spent after 5 s is forfeited. At the limit, a message waits for
// the lease that is on its way, or is refused while Redis has said that there is
// nothing. All leases that are wanted at a time travel in one exchange.
//
// Connections are not leased ahead: each handshake waits for its exchange.
//
// # Guarantees
//
// All gateways together let through what a rate allows and no more, except for what
// is leased when the window begins, and less by what is leased and not spent: within
// 5 % in the tests, with four gateways and uneven load. Connections at once are exact.
//
// A gateway that died loses its leases, which the buckets make up for, and its
// connections are taken back when two beats of whoever asks have missed it, some 5 s
// later. When Redis has lost its data, gateways tell it their connections again.
//
// While Redis does not answer, each gateway allows the full limits by itself: an outage
// must not shut out users whose connections happen to be on one gateway. Handshakes
// wait for at most Config.CallTimeout when it begins, and not at all later.
//
// Memory is bounded: a subject is forgotten a second after its last connection, unless
// it is being refused; at most Config.MaxSubjects are counted, and beyond, connections
// of new ones are let through uncounted. In Redis a subject is forgotten when its
// buckets are full again and it has no connections.
//
// # Not guaranteed
//
// Order among the gateways that ask: at the limit, who asks first gets more.
//
// # Lifecycle and concurrency
//
// [New] starts nothing. [Quota.Run] does all exchanges, and blocks. All methods may be
// called from any goroutine.
package quota
