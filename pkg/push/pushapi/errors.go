package pushapi

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/boreas-ws/boreas/pkg/push"
)

// failure gives an error of package push its code.
func failure(err error) error {
	code := connect.CodeUnavailable // Redis, most likely
	switch {
	case errors.Is(err, push.ErrTooLarge):
		code = connect.CodeResourceExhausted
	case errors.Is(err, push.ErrMessage), errors.Is(err, push.ErrPage):
		code = connect.CodeInvalidArgument
	case errors.Is(err, push.ErrNoSocket):
		code = connect.CodeNotFound
	case errors.Is(err, push.ErrRefused):
		code = connect.CodeFailedPrecondition
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	}
	return connect.NewError(code, err)
}

// RefuseUnready answers a request, in its protocol, while there is no API yet: with
// unavailable, and why.
func RefuseUnready(w http.ResponseWriter, r *http.Request, why string) {
	_ = connect.NewErrorWriter().Write(w, r, connect.NewError(connect.CodeUnavailable, errors.New(why))) // fails if the caller is gone
}

func invalid(text string) error {
	return connect.NewError(connect.CodeInvalidArgument, errors.New(text))
}
