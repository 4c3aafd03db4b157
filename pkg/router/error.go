package router

import (
	"errors"

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
}

// NewError returns an Error.
func NewError(code wire.ErrorCode, message string) *Error { return &Error{code, message} }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrorCode returns the code.
func (e *Error) ErrorCode() wire.ErrorCode { return e.Code }

// explain turns the error that a handler left into what the client is told. Errors
// without a code say nothing about the inside of the service.
func explain(err error) (code wire.ErrorCode, message string) {
	var coded interface {
		error
		ErrorCode() wire.ErrorCode
	}
	if errors.As(err, &coded) {
		return coded.ErrorCode(), coded.Error()
	}
	return wire.CodeInternal, "the handler failed"
}
