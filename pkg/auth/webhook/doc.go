// Package webhook lets an HTTP endpoint of the application decide who may connect.
//
// The endpoint gets a POST with what it needs of the handshake:
//
//	{"gateway": "public", "path": "/ws", "client": "192.0.2.7", "headers": {"Cookie": ["session=..."]}, "token": ""}
//
// and answers 200 with
//
//	{"allow": true, "user": "alice", "claims": {"role": "admin"}, "expires": 1767225600}
//
// of which claims and expires (in seconds since 1970) are optional, and a user is
// not needed for an anonymous client; or with {"allow": false}, 401 or 403. When a
// client renews its identity, headers is empty and token is what it sent.
//
// # Guarantees
//
// Any other answer, none in time, or one that cannot be read lets nobody in. An
// answer is kept for Config.CacheTTL, under a hash of the question, in a cache of
// bounded size; clients that come with the same question at once wait for one
// answer, and one of them that leaves takes it from nobody. Only headers that are named
// in the configuration are sent on.
//
// # Lifecycle and concurrency
//
// A question goes on without those who asked it, for Config.Timeout at most; nothing
// else is started. Every method may be called from any goroutine.
package webhook
