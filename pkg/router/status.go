package router

import "github.com/boreas-ws/boreas/pkg/wire"

// Status is a WebSocket close status (RFC 6455 section 7.4).
type Status = wire.CloseCode

// The close statuses. 1005, 1006 and 1015 are only ever reported: a close frame
// cannot carry them.
const (
	StatusNormalClosure           Status = 1000
	StatusGoingAway               Status = 1001
	StatusProtocolError           Status = 1002
	StatusUnsupportedData         Status = 1003
	StatusNoStatusRcvd            Status = 1005
	StatusAbnormalClosure         Status = 1006
	StatusInvalidFramePayloadData Status = 1007
	StatusPolicyViolation         Status = 1008
	StatusMessageTooBig           Status = 1009
	StatusMandatoryExtension      Status = 1010
	StatusInternalError           Status = 1011
	StatusServiceRestart          Status = 1012
	StatusTryAgainLater           Status = 1013
	StatusBadGateway              Status = 1014
	StatusTLSHandshake            Status = 1015
)

// CloseSource says which side ended a socket.
type CloseSource = wire.CloseSource

// The sources of a close. A socket that its draining instance hands back to the
// gateway lives on elsewhere; its UseClose handlers see ServerCloseSource.
const (
	ClientCloseSource = wire.SourceClient
	ServerCloseSource = wire.SourceServer
)

// MessageType tells text messages from binary ones.
type MessageType = wire.MessageType

// The message types, with the values of RFC 6455.
const (
	MessageText   = wire.Text
	MessageBinary = wire.Binary
)
