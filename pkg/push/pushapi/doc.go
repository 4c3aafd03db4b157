// Package pushapi serves the API with which backends push, look at sockets and close
// them: HTTP JSON, gRPC and gRPC-Web from one definition, pushapi/v1/push.proto, with
// gRPC's health checks and reflection.
//
//	api, err := pushapi.New(push.Of(bp), pushapi.Config{Keys: map[string]string{"orders": key}})
//	mux.Handle("/boreas.push.v1.PushService/", api)
//
// # Guarantees
//
// Every answer of a method, also a refusal, is in the protocol of the request, with one
// of Connect's codes; docs/api.md has the table. What a push promises is in package
// push. A push with an idempotency key is done once per caller and key while this
// process lives and remembers: the last Config.Remember pushes with keys, for
// Config.RememberFor.
//
// # Not guaranteed
//
// Another gateway knows nothing of idempotency keys that this one has seen.
//
// # Lifecycle and concurrency
//
// An [API] has no goroutine of its own and may be used from many.
package pushapi
