package router

import (
	"errors"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var (
	// ErrContextFreed is returned by a Context whose handler has returned: handlers
	// must not return before everything that uses their context is done.
	ErrContextFreed = errors.New("context used after its handler returned: a handler must not return before everything that uses its context is done")
	// ErrSocketClosed is returned when the socket ended, or a handler closed it.
	ErrSocketClosed = errors.New("socket is closed")
	// ErrNoMessageID is returned by Receive when the message that started the
	// handler has no id: nothing tells which further messages belong to it.
	ErrNoMessageID = errors.New("cannot receive further messages: the client must send an id with the message that starts a conversation")

	errNoMarshaller   = errors.New("no message marshaller is set: Use the middleware of an encoding, such as json.Middleware(), or SetMessageMarshaller")
	errNoUnmarshaler  = errors.New("no message unmarshaler is set: Use the middleware of an encoding, such as json.Middleware(), or SetMessageUnmarshaler")
	errNothingDecodes = errors.New("no middleware of this service reads the message")
)

// Error is an error that the client may see. A handler that sets Context.Error to
// one, or to an error that wraps one, and sends nothing, has it sent as the answer;
// it can also be sent as data. Any other type with a method ErrorCode() wire.ErrorCode
// is treated in the same way.
type Error struct {
	Code    wire.ErrorCode
	Message string
	// RetryAfter is when it may be worth trying again; zero says nothing about that.
	RetryAfter time.Duration
}

// NewError returns an Error.
func NewError(code wire.ErrorCode, message string) *Error {
	return &Error{Code: code, Message: message}
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrorCode returns the code.
func (e *Error) ErrorCode() wire.ErrorCode { return e.Code }

// Failure is the error as envelopes tell it.
func (e *Error) Failure() envelope.Failure {
	return envelope.Failure{Code: e.Code, Message: e.Message, RetryAfter: e.RetryAfter}
}

// explain turns the error that a handler left into what the client is told. Errors
// without a code say nothing about the inside of the service.
func explain(err error) envelope.Failure {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Failure()
	}
	var coded interface {
		error
		ErrorCode() wire.ErrorCode
	}
	if errors.As(err, &coded) {
		return envelope.Failure{Code: coded.ErrorCode(), Message: coded.Error()}
	}
	return envelope.Failure{Code: wire.CodeInternal, Message: "the handler failed"}
}
