// Package backplane makes a process a node: it opens registry, bus and links
// together, and carries streams over them. A program opens one backplane and puts
// its gateways and services on it.
//
//	bp, err := backplane.Open(ctx, "redis://localhost:6379", backplane.Config{})
//	if err != nil {
//		return err
//	}
//	defer bp.Close(ctx)
//	return service.New("chat", bp, newRouter(), service.Config{}).Run(ctx)
//
// A [Stream] is what gateways and services use of it: one socket's connection to one
// service. The gateway's node opens it towards the node of the instance that the
// socket is pinned to ([Backplane.OpenStream]); that node accepts it
// ([Backplane.Serve]). All streams between two nodes share one link; a stream to the
// node itself skips Redis. Package wire has the frames and their order.
//
// # Guarantees
//
// Frames of a stream arrive once and in the order of the calls that sent them, after
// its Open. When the link to the peer breaks (it is gone for too long, starts again,
// or the registry declares it dead), each stream of both ends is told once, by
// [StreamHandler.Reset]; from then on it sends nothing and gets nothing, and no
// stream is left that only one end knows. A frame for a stream or service that is
// not there is dropped, counted and, if it was an Open, answered with a Refuse.
//
// The node's lease is renewed only while what it publishes comes back to it: as long
// as others count it as alive, it can be reached. [Backplane.Ready] tells.
//
// # Not guaranteed
//
// A sender does not learn whether a frame arrived, only that those before a reset
// may be lost. Nothing here limits what a peer sends on a stream; credits are the
// business of gateway and service. Close does not take gateways and services out of
// the registry; they do that when they stop.
//
// # Lifecycle and concurrency
//
// [Open] starts the node, [Backplane.Close] ends it with all goroutines;
// [Backplane.Done] is closed then. All methods may be called from any goroutine.
// Handlers of one peer are called one at a time and must not block; handlers of
// different peers may be called at the same time.
package backplane
