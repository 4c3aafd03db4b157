// Package load puts WebSocket clients on gateways and measures what they see. It is
// what `boreas bench` runs.
//
// Connections are idle or active. An active one sends numbered messages to one
// path and expects an answer to each; or, with Config.Publish, all active ones are
// members of a group and the first publishes numbered messages to it. Each message
// carries when it was due, so that latency counts from then: what waits because
// the system is slow is slow as well.
//
// # Guarantees
//
// Every message that was sent is accounted for in the [Report]: answered, refused
// with an error, or lost. A connection that ends before the run does is counted by
// its close code; so is one that could not be opened.
//
// # Lifecycle and concurrency
//
// [Run] blocks until the run is over and all its goroutines have ended. An active
// connection has two, an idle one has one.
package load
