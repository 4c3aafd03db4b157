package link

import "github.com/boreas-ws/boreas/pkg/wire"

// Bus carries datagrams to the inbox channels of nodes: the seam to Redis, or to
// memory in tests. It may lose, repeat, delay and reorder datagrams; it must not
// alter them.
//
// Sending is a pull. A [Source] announces itself with Ready, and the bus, when it
// is free, takes one datagram from it with Next. What sources queue while a flush
// is under way therefore leaves together in the next one, without any timer.
type Bus interface {
	// Channel returns the name of the inbox channel of a node.
	Channel(n wire.NodeID) string
	// Ready schedules src: the one writer goroutine of its destination soon calls
	// src.Next, and goes on calling it, once per flush, until it returns more ==
	// false. Ready never blocks and never calls src. A call for a source that is
	// scheduled already has no further effect than one more Next.
	Ready(src Source)
	// Subscribe starts the delivery of a channel's datagrams to r. It returns at
	// once and keeps trying until the subscription is closed.
	Subscribe(channel string, r Receiver) (Subscription, error)
	// MaxDatagram is the largest datagram that the bus carries, in bytes. The
	// largest frame is a little smaller. At least 128 KiB; 2 MiB is recommended.
	MaxDatagram() int
}

// Source gives the bus datagrams for one destination. The bus calls Next and
// Published of one source alternately, never at the same time: after a Next that
// returned a datagram comes exactly one Published, and only then another Next.
type Source interface {
	// Destination is the channel to publish to. It never changes.
	Destination() string
	// Next appends at most one datagram to buf and returns the extended slice; a
	// result as long as buf means that there is nothing to send. The bus owns the
	// memory. more reports whether to call again in the next flush; when it is
	// false, the source calls Ready before it wants to be called again.
	Next(buf []byte) (out []byte, more bool)
	// Published tells the outcome of the last datagram: the number of
	// subscribers that it was handed to (0: nobody is subscribed, so it is lost;
	// negative: unknown), or why the publication failed or may have failed.
	Published(receivers int64, err error)
}

// Receiver takes what arrives on a channel. The bus calls its methods from one
// goroutine at a time.
type Receiver interface {
	// Datagram takes one datagram. The bus never touches b again: b and parts of
	// it may be kept.
	Datagram(b []byte)
	// Gap says that datagrams may have been missed. The bus calls it after every
	// confirmation of the subscription, the first one included, before the
	// datagrams that follow it.
	Gap()
}

// Subscription is a running delivery.
type Subscription interface {
	// Ready is closed at the first confirmation: from then on a datagram
	// published to the channel is delivered while the connection lives.
	Ready() <-chan struct{}
	// Close ends the delivery. After it returned, the receiver is not called
	// again. It must not be called by the receiver.
	Close()
}
