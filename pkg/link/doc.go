// Package link carries frames between nodes, reliably and in order, over a bus
// that may lose, repeat, delay and reorder what it is given.
//
// A [Mesh] is one node's end: its inbox and its links. A [Link] leads to one
// incarnation of a peer. Frames are numbered per link and direction, packed into
// batches by what is queued when the bus is free, kept until the peer acknowledges
// them, and sent again when they are known to be lost. A [Bus] is the transport:
// Redis pub/sub (package redisbus) or memory (package linktest).
//
//	mesh, err := link.NewMesh(link.Config{Self: self, Bus: bus, Handler: h})
//	go mesh.Run(ctx)
//	<-mesh.Subscribed()
//	err = mesh.To(peer).Send(ctx, head, payload)
//
// # Guarantees
//
// For two live incarnations, every frame accepted by Send reaches the peer once,
// in send order, while the bus becomes reachable for both within 30 s
// ([Config].ResetAfter). Otherwise both ends get a [Reset] with LastAcked: frames up
// to that one were delivered, later ones are unknown. Nothing is dropped silently.
//
// Memory is bounded. Frames that wait for their acknowledgement take at most
// [Config].WindowBytes per link and direction, and ControlBytes more for frames of
// SendControl; when the window is full, Send blocks. A receiver holds at most
// WindowBytes per link out of order.
//
// # How a link recovers
//
// Every datagram has a number and echoes the newest number seen from the peer. A
// receiver that learns of a gap reports the missing runs at once; the sender
// repeats exactly the batches that left in a datagram which the peer has seen
// passed. Silence is answered with a question, after 50 ms and then up to 400 ms,
// not with repetition: the answer tells what is missing. When the bus reports that
// nobody is subscribed, the sender asks every 100 ms and sends nothing else until
// somebody is. A renewed subscription makes a node ask all its peers.
//
// Acknowledgements travel with frames; alone they leave after 20 ms, or at once
// when the sender says that half its window is used.
//
// # Generations
//
// Both directions of a link belong to one generation. Whoever resets a link starts
// the next one, in which numbers begin anew; the peer learns of it from the next
// datagram, resets its own side and follows. Datagrams of earlier generations are
// rejected, so nothing sent before a reset arrives after it. As soon as the
// [Handler] knows of the reset the link works again, in the new generation.
//
// A later epoch of a node ends the link to the earlier incarnation for good. A
// node that gets a datagram meant for an incarnation before its own answers, and
// so tells the sender at once.
//
// # Not guaranteed
//
// An acknowledged frame was handed to the peer's [Handler], or is about to be; what
// the peer did with it is its own matter. Frames of different links have no order.
// After a reset, frames that were sent without knowing of it may arrive in the new
// generation without those before them: give frames a context (a stream id) that a
// reset ends. Datagrams are not authenticated: who can publish on the bus can forge
// them.
//
// # Lifecycle
//
// NewMesh starts nothing. Frames sent before Run wait. Run returns when its context
// ends, every goroutine it started has ended and blocked Sends have failed with
// [ErrClosed]; call Flush first to let everything out.
//
// # Concurrency
//
// All methods may be called from any goroutine. A mesh has one goroutine for timers
// and one for the loopback; idle links have no timers. The [Handler] is called from
// these and from the bus's receive goroutine, never twice at a time for one peer.
package link
