package gateway

import (
	"time"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Hooks are called as things happen, from the goroutines that do them: they must
// be quick, must not block and must not call into this package. Any of them may
// be nil.
type Hooks struct {
	// SocketOpened is called when a handshake has succeeded.
	SocketOpened func()
	// SocketClosed is called when a connection is gone: with the status that its
	// services were told, the named reason, and how long it was open. The reason is
	// fit for a metric label: one of client_closed, client_gone, peer_timeout,
	// protocol, wrong_type, invalid_utf8, too_big, message_timeout, fragments,
	// control_flood, rate_limited, slow_consumer, service, disconnected, instance_lost, token_expired, drain,
	// shutdown, overrun and internal.
	SocketClosed func(status wire.CloseCode, reason string, open time.Duration)
	// Refused is called for each handshake that is not accepted.
	Refused func(Refusal)
	// Authenticated is called after each call of the Authenticator for a handshake,
	// with the method that the identity was established by ("" if it was not) and
	// the time that it took.
	Authenticated func(method string, took time.Duration)
	// Renewed is called after a client has tried to renew its identity, with the
	// method of that and whether it could.
	Renewed func(method string, ok bool)
	// MessagesIn is called after messages of a client were sent on to a service: those
	// that came together, with their bytes.
	MessagesIn func(service string, messages, bytes int)
	// MessagesOut is called after messages were written to a client together.
	MessagesOut func(messages, bytes int)
	// Requests is asked for the Observer of each route whenever the route table is
	// made anew; nil: the route's replies are not timed.
	Requests func(service, pattern string) Observer
	// Rejected is called for each message of a client that was answered with an
	// error in place of being sent on.
	Rejected func(wire.ErrorCode)
	// Limited is called for each message or handshake that was over a limit or, for
	// LimitSchema, did not fit; besides Rejected or Refused.
	Limited func(Scope, Limit)
	// Reported is called with each latency that a client reports: its word, within
	// Config.ReportRate.
	Reported func(latency time.Duration)
	// Pinned is called when a socket was bound to an instance of a service, or
	// could not be, with the time that it took.
	Pinned func(service string, took time.Duration, err error)
	// Unpinned is called when such a binding ends, with the reason: "closed",
	// "handoff", "lost" or "timeout".
	Unpinned func(service string, reason string)
	// Throttled is called when the gateway stopped reading a client because a
	// service gave no credit, once per stop, with its duration.
	Throttled func(service string, d time.Duration)
	// Dropped is called for messages of a service that could not be delivered
	// because the client's connection was closing or gone.
	Dropped func(messages int)
	// Draining is called while the gateway drains, with the number of sockets that
	// are left.
	Draining func(sockets int)
}

// Observer is called after a service's reply to a client's message was written, with
// the times from the reading of the message to the arrival of the reply and to its
// writing. Of each socket one message at a time is timed, of those with a path and
// an id, and about 16 a second if it sends more (with a ping interval of 25 s or
// longer; of a shorter one, 16 in a 25th). A reply that takes more than a minute is
// not timed.
type Observer func(answered, written time.Duration)

// Refusal names why a handshake was not accepted. It is the metric label.
type Refusal string

// The reasons to refuse a handshake.
const (
	RefuseNotWebSocket Refusal = "not_websocket" // a plain HTTP request, or a broken handshake
	RefuseSubprotocol  Refusal = "subprotocol"   // none of the offered subprotocols is spoken here
	RefuseOrigin       Refusal = "origin"        // a web page of a foreign origin
	RefuseTooLarge     Refusal = "too_large"     // its URL and forwarded headers are over 16 KiB
	RefuseNotReady     Refusal = "not_ready"     // Run has not begun, or is over
	RefuseDraining     Refusal = "draining"      // Drain has begun
	RefuseTooMany      Refusal = "too_many"      // over Config.MaxSockets
	RefuseHandshakes   Refusal = "handshakes"    // over Config.MaxHandshakes
	RefuseAcceptRate   Refusal = "accept_rate"   // over Config.AcceptRate
	RefuseAddress      Refusal = "address_limit" // over what Config.Quota allows its address
	RefuseUser         Refusal = "user_limit"    // over what Config.Quota allows its user

	RefuseNoCredential    = Refusal(auth.NoCredential)  // it brings none, and needs one
	RefuseBadCredential   = Refusal(auth.BadCredential) // it brings one that is not good
	RefuseExpired         = Refusal(auth.Expired)       // it brings one that was good once
	RefuseDenied          = Refusal(auth.Denied)        // it is known, and may not connect
	RefuseAuthUnavailable = Refusal(auth.Unavailable)   // nobody can tell who it is now
)

// orNothing fills in functions that do nothing.
func (h Hooks) orNothing() Hooks {
	if h.SocketOpened == nil {
		h.SocketOpened = func() {}
	}
	if h.SocketClosed == nil {
		h.SocketClosed = func(wire.CloseCode, string, time.Duration) {}
	}
	if h.Refused == nil {
		h.Refused = func(Refusal) {}
	}
	if h.Authenticated == nil {
		h.Authenticated = func(string, time.Duration) {}
	}
	if h.Renewed == nil {
		h.Renewed = func(string, bool) {}
	}
	if h.MessagesIn == nil {
		h.MessagesIn = func(string, int, int) {}
	}
	if h.MessagesOut == nil {
		h.MessagesOut = func(int, int) {}
	}
	if h.Requests == nil {
		h.Requests = func(string, string) Observer { return nil }
	}
	if h.Rejected == nil {
		h.Rejected = func(wire.ErrorCode) {}
	}
	if h.Limited == nil {
		h.Limited = func(Scope, Limit) {}
	}
	if h.Reported == nil {
		h.Reported = func(time.Duration) {}
	}
	if h.Pinned == nil {
		h.Pinned = func(string, time.Duration, error) {}
	}
	if h.Unpinned == nil {
		h.Unpinned = func(string, string) {}
	}
	if h.Throttled == nil {
		h.Throttled = func(string, time.Duration) {}
	}
	if h.Dropped == nil {
		h.Dropped = func(int) {}
	}
	if h.Draining == nil {
		h.Draining = func(int) {}
	}
	return h
}
