// Package auth says who the clients of a gateway are.
//
// An [Authenticator] is given a client's [Handshake] and returns its identity, or a
// [Refusal]. Packages ticket, jwt and webhook have one each; [First] combines them,
// and [None] lets anonymous clients in. What they return reaches every handler as
// the router's Context.Identity.
//
//	authenticator := auth.First(tickets, tokens) // either credential will do
//	gw, err := gateway.New("public", bp, gateway.Config{Authenticator: authenticator})
//
// # Guarantees
//
// A credential that was found and is not good is final: no other authenticator is
// asked, so that a client with a bad credential never becomes an anonymous one. An
// authenticator that cannot tell lets nobody in. No error or refusal of these
// packages quotes a credential.
//
// # Not guaranteed
//
// What a user may do is for handlers to decide. A credential in a query string is
// removed from what handlers see and from what Boreas logs; a proxy in front may
// still log it, which is why tokens there are off by default and tickets, which
// work once, are not.
//
// # Lifecycle and concurrency
//
// Constructors start nothing, and there is nothing to stop. Every method may be
// called from any goroutine.
package auth
