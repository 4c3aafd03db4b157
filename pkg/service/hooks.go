package service

import (
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Hooks observe a service, for metrics and tests. Any of them may be nil. They are
// called from many goroutines, some of which carry the messages of other sockets:
// a hook must return quickly and never block.
type Hooks struct {
	// SocketOpened tells that a gateway opened a socket on this instance.
	SocketOpened func(gateway string)

	// SocketClosed tells that the UseClose handlers of a socket have run.
	SocketClosed func(gateway string, status wire.CloseCode, source wire.CloseSource)

	// MessageReceived tells that a client's message of so many bytes was queued.
	MessageReceived func(bytes int)

	// MessageStarted tells that the handling of a message started, and how long
	// the message was queued in this instance before. Of each socket one message at
	// a time is timed, and about 16 a second if it has more.
	MessageStarted func(queued time.Duration)

	// MessageSent tells that a message of so many bytes was sent to a client, and
	// how long it waited for credit.
	MessageSent func(bytes int, waited time.Duration)

	// Violation tells that a gateway broke the protocol on a stream, which was
	// closed therefore.
	Violation func(Violation)

	// Drained tells how far a stop got: of so many sockets when it began, so many
	// are left. It is called at the start, at the end, and now and then between.
	Drained func(left, total int)

	// Router is told to the Handler if that can be observed, as a *router.Router
	// can: see [router.Router.Observe].
	Router router.Hooks
}

// Violation names a breach of protocol. It is a metric label.
type Violation string

// The violations.
const (
	ViolationCredit Violation = "credit_overrun" // more Data than was granted
	ViolationFrame  Violation = "bad_frame"      // a frame that cannot be read, or must not come now
)
