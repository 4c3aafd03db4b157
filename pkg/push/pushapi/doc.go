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
// push. A push with an idempotency key is done once per caller and key, whichever
// gateways are asked, for Config.RememberFor. Redis has a note of each: that a node has
// it under way, and then its answer. When the node is lost in between, nobody knows
// whether the push was sent; repeating it fails, with CodeAborted.
//
// # Not guaranteed
//
// When Redis loses its data, only the node that did a push with an idempotency key knows
// of it, and only of its last Config.Remember. Gateways of versions before these notes do
// not read them.
//
// # Lifecycle and concurrency
//
// An [API] may be used from many goroutines. It goes on with a push with an idempotency
// key when its caller has gone, and with noting the outcome until Redis can be reached,
// the backplane is closed, or Config.RememberFor is over.
package pushapi
