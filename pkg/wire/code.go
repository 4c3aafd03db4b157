package wire

// ErrorCode is the machine-readable cause in an error envelope, and a label in
// metrics. Every code is documented in docs/protocol.md.
type ErrorCode string

// The error codes that a client can meet.
const (
	CodeBadMessage   ErrorCode = "bad_message"   // not a valid envelope in the connection's encoding
	CodeNoPath       ErrorCode = "no_path"       // neither a path nor a known id
	CodeBadPath      ErrorCode = "bad_path"      // the path is not a valid path
	CodeNoRoute      ErrorCode = "no_route"      // no service announces the path
	CodeUnavailable  ErrorCode = "unavailable"   // the route is known, but no instance could be reached in time
	CodeInstanceLost ErrorCode = "instance_lost" // the instance died with the request in flight
	CodeInternal     ErrorCode = "internal"      // a handler failed
	CodeRateLimited  ErrorCode = "rate_limited"  // over a rate limit
	CodeValidation   ErrorCode = "validation"    // the data does not fit the route's schema
	CodeUnauthorized ErrorCode = "unauthorized"  // the client may not do this
)

// CloseCode is a WebSocket close status (RFC 6455 section 7.4 and the IANA
// registry).
type CloseCode uint16

// The close codes that Boreas sends or reports.
const (
	CloseNormal       CloseCode = 1000 // done
	CloseGoingAway    CloseCode = 1001 // the client leaves, or the server stops
	CloseProtocol     CloseCode = 1002 // the peer broke the WebSocket protocol
	CloseUnsupported  CloseCode = 1003 // a text message on a binary encoding, or the other way
	CloseNoStatus     CloseCode = 1005 // reported only: the close frame had no status
	CloseAbnormal     CloseCode = 1006 // reported only: the connection broke without a close frame
	CloseInvalidUTF8  CloseCode = 1007 // a text message is not UTF-8
	ClosePolicy       CloseCode = 1008 // a limit was passed or a permission is missing
	CloseTooBig       CloseCode = 1009 // a message is over the size limit
	CloseInternal     CloseCode = 1011 // the server failed
	CloseRestart      CloseCode = 1012 // the gateway drains or the instance was lost: reconnect
	CloseTryAgain     CloseCode = 1013 // the server is overloaded: reconnect later
	MaxCloseReasonLen           = 123  // bytes of reason that a close frame holds
)
