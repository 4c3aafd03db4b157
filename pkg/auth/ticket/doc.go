// Package ticket lets clients connect with one-shot tickets, kept in Redis.
//
// The application's server, which knows its user, mints a ticket and gives it to
// the client; the client connects with it to any gateway, which consumes it. A
// ticket has 256 random bits, works once and lives for seconds, so that it may
// stand where a password must not: in a URL or a subprotocol.
//
//	tickets, err := ticket.New(client, ticket.Config{})
//	t, err := tickets.Mint(ctx, ticket.Grant{User: "alice"})   // the application
//	gateway.Config{Authenticator: tickets}                     // the gateway
//
// # Guarantees
//
// Of any number of clients that use one ticket, through any gateways, at most one
// gets in. Redis holds the SHA-256 of a ticket, from which it cannot be made: who
// reads Redis cannot connect. No error or log has a ticket.
//
// # Not guaranteed
//
// A ticket whose gateway loses Redis in the wrong moment is used up without having
// let anybody in. Tickets are gone when Redis loses its data.
//
// # Lifecycle and concurrency
//
// Nothing is started. Every method may be called from any goroutine.
package ticket
