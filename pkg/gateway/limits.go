package gateway

import (
	"github.com/boreas-ws/boreas/pkg/wire"
)

// cause says why a connection ends.
type cause uint8

const (
	causeNone           cause = iota
	causeClientClosed         // the client sent a close frame
	causeClientGone           // the connection broke without one
	causePeerTimeout          // not a byte came for Config.PeerTimeout
	causeProtocol             // the client broke the WebSocket protocol
	causeWrongType            // a text message on a binary encoding, or the other way
	causeInvalidUTF8          // a text message is not UTF-8
	causeTooBig               // a message is over Config.MaxMessageBytes
	causeMessageTimeout       // a message was not complete within Config.MessageTimeout
	causeFragments            // a message has more than Config.MaxFragments
	causeControlFlood         // pings and pongs came faster than Config.MaxControlRate
	causeRateLimited          // messages over a rate limit came for Config.RateGrace
	causeSlowConsumer         // writes made no progress for Config.SlowConsumerTimeout
	causeService              // a handler closed the socket
	causeDisconnected         // a backend closed the socket
	causeInstanceLost         // the instance of a service with policy close is gone
	causeExpired              // the client's identity has expired, and Config.ExpiryGrace is over
	causeDrain                // the gateway drains
	causeShutdown             // Run was ended without a drain
	causeOverrun              // a service sent more than its credit
	causeInternal             // a defect of the gateway

	causes
)

// ending is how a connection ends: what the client is told in the close frame,
// and what its services are told.
type ending struct {
	cause  cause
	status wire.CloseCode
	reason string
	source wire.CloseSource
}

// endings maps every cause to its name and close code; nothing else in this
// package chooses one. Causes that bring a status of their own have 0 here.
var endings = [causes]struct {
	reason string
	status wire.CloseCode
	source wire.CloseSource
}{
	causeClientClosed:   {"client_closed", 0, wire.SourceClient},
	causeClientGone:     {"client_gone", wire.CloseAbnormal, wire.SourceClient},
	causePeerTimeout:    {"peer_timeout", wire.CloseAbnormal, wire.SourceClient},
	causeProtocol:       {"protocol", wire.CloseProtocol, wire.SourceServer},
	causeWrongType:      {"wrong_type", wire.CloseUnsupported, wire.SourceServer},
	causeInvalidUTF8:    {"invalid_utf8", wire.CloseInvalidUTF8, wire.SourceServer},
	causeTooBig:         {"too_big", wire.CloseTooBig, wire.SourceServer},
	causeMessageTimeout: {"message_timeout", wire.ClosePolicy, wire.SourceServer},
	causeFragments:      {"fragments", wire.ClosePolicy, wire.SourceServer},
	causeControlFlood:   {"control_flood", wire.ClosePolicy, wire.SourceServer},
	causeRateLimited:    {"rate_limited", wire.ClosePolicy, wire.SourceServer},
	causeSlowConsumer:   {"slow_consumer", wire.ClosePolicy, wire.SourceServer},
	causeService:        {"service", 0, wire.SourceServer},
	causeDisconnected:   {"disconnected", wire.ClosePolicy, wire.SourceServer},
	causeInstanceLost:   {"instance_lost", wire.CloseRestart, wire.SourceServer},
	causeExpired:        {"token_expired", wire.ClosePolicy, wire.SourceServer},
	causeDrain:          {"drain", wire.CloseRestart, wire.SourceServer},
	causeShutdown:       {"shutdown", wire.CloseGoingAway, wire.SourceServer},
	causeOverrun:        {"overrun", wire.CloseInternal, wire.SourceServer},
	causeInternal:       {"internal", wire.CloseInternal, wire.SourceServer},
}

// String returns the name of the cause: the reason in hooks, logs and, unless the
// cause brings its own, in the close frame.
func (c cause) String() string { return endings[c].reason }

// ending returns how a connection ends for a cause that has a fixed status.
func (c cause) ending() ending {
	e := endings[c]
	return ending{cause: c, status: e.status, reason: e.reason, source: e.source}
}

// endingWith returns how a connection ends with a status that the client or a
// handler chose.
func (c cause) endingWith(status wire.CloseCode, reason string) ending {
	return ending{cause: c, status: status, reason: reason, source: endings[c].source}
}

// sendable returns the status as it may stand in a close frame; 0 stands for a
// frame without a status.
func sendable(status wire.CloseCode) wire.CloseCode {
	switch {
	case status == 0:
		return wire.CloseNormal
	case status == wire.CloseNoStatus:
		return 0
	case status >= 1000 && status <= 1014 && status != 1004 && status != wire.CloseAbnormal,
		status >= 3000 && status <= 4999:
		return status
	default:
		return wire.CloseInternal
	}
}

// sendsFrame reports whether a close frame is of any use: not when the client is
// known to be gone.
func (e ending) sendsFrame() bool {
	return e.cause != causeClientGone && e.cause != causePeerTimeout
}
