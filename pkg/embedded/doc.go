// Package embedded gives a backplane without a Redis to install: it runs a
// Redis-compatible server inside the process. It is for development and for tests of
// services; production binaries do not link it.
//
//	bp, err := embedded.Open(ctx)
//	defer bp.Close(ctx)
//	chat := service.New("chat", bp, newRouter(), service.Config{})
//	gw, err := gateway.New("public", bp, gateway.Config{})
//
// Gateways and services on one backplane reach each other without the server, which
// then only holds the registry. [StartServer] gives the server alone, so that several
// backplanes, each with a node of its own, talk across it.
//
// # Guarantees
//
// Every feature works as on Redis: the tests of the registry run against both.
//
// # Not guaranteed
//
// Nothing outlives the process, other programs are not meant to connect, and it is
// slower than Redis: measure nothing on it.
//
// # Lifecycle and concurrency
//
// The server of [Open] ends with its backplane's Close. A [Server] ends with its own
// Close, after the backplanes on it. All methods may be called from any goroutine.
package embedded
