package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Authenticator says who a client is.
type Authenticator interface {
	// Authenticate returns the client's identity. It fails with [ErrNoCredential]
	// if the handshake has no credential of the kind that it looks for, and with a
	// *[Refusal] if it has and the client may not connect. Any other error means
	// that it could not tell, and the client may not connect either.
	Authenticate(ctx context.Context, h *Handshake) (wire.Identity, error)
}

// Renewer is an [Authenticator] whose identities expire, and can be renewed while
// the client is connected.
type Renewer interface {
	// Renew returns the identity that a client with the current one has by a new
	// token. Errors are those of Authenticate; ErrNoCredential means that this
	// Renewer does not renew that identity. Whoever calls it compares the users.
	Renew(ctx context.Context, current wire.Identity, token string) (wire.Identity, error)
}

// ErrNoCredential is returned by an [Authenticator] that finds nothing to judge.
var ErrNoCredential = errors.New("the handshake has no credential")

// Handshake is what is known about a client that wants to connect. Nothing in it
// may be changed.
type Handshake struct {
	Gateway    string      // the gateway's name
	Path       string      // of the URL
	Query      url.Values  // of the URL
	Header     http.Header // all of it
	ClientAddr string      // host:port, as far as the gateway's proxies can be trusted
}

// Code names why a client was refused. It is what the client gets as the code of
// the HTTP answer, and a metric label.
type Code string

// The codes.
const (
	NoCredential  Code = "no_credential"      //nolint:gosec // 401: the handshake has none
	BadCredential Code = "bad_credential"     //nolint:gosec // 401: it has one that is not good
	Expired       Code = "expired_credential" // 401: it was good once
	Denied        Code = "denied"             // 403: the client is known and may not connect
	Unavailable   Code = "auth_unavailable"   // 503: nobody can tell now
)

// Refusal is the error for a client that may not connect.
type Refusal struct { //nolint:errname // it reads as what it is
	Code Code
	Text string // for the client
	Err  error  // for logs; may be nil
}

// Error implements error, for logs.
func (r *Refusal) Error() string {
	text := string(r.Code) + ": " + r.Text
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Status is the HTTP status of the answer.
func (r *Refusal) Status() int {
	switch r.Code {
	case Denied:
		return http.StatusForbidden
	case Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnauthorized
	}
}

// Judge makes a Refusal of any error of an [Authenticator] or [Renewer]; nil of nil.
func Judge(err error) *Refusal {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	if errors.Is(err, ErrNoCredential) {
		return &Refusal{Code: NoCredential, Text: "sign in first: the handshake has no credential that is accepted here"}
	}
	return &Refusal{Code: Unavailable, Text: "who you are cannot be told now; try again in a second", Err: err}
}

// None lets every client in, as an anonymous one. As the last of [First] it does so
// for clients without a credential.
type None struct{}

// Authenticate implements [Authenticator].
func (None) Authenticate(context.Context, *Handshake) (wire.Identity, error) {
	return wire.Identity{}, nil
}

// First asks one authenticator after the other, until one finds a credential. Among
// those that have a method Sources() Sources, a client with credentials of several is
// refused, and a cookie does not count beside a credential elsewhere.
func First(list ...Authenticator) Authenticator { return first(list) }

type first []Authenticator

func (f first) Authenticate(ctx context.Context, h *Handshake) (wire.Identity, error) {
	found, owner := 0, -1 // credentials outside cookies, and whose the last is
	for n, a := range f {
		if s, ok := a.(sourced); ok {
			if k := len(s.Sources().explicit(h)); k > 0 {
				found, owner = found+k, n
			}
		}
	}
	if found > 1 {
		return wire.Identity{}, errSeveral
	}
	for n, a := range f {
		if _, ok := a.(sourced); ok && found == 1 && n != owner {
			continue
		}
		i, err := a.Authenticate(ctx, h)
		if !errors.Is(err, ErrNoCredential) {
			return i, err
		}
	}
	return wire.Identity{}, ErrNoCredential
}

// sourced is an [Authenticator] that says where it looks for credentials.
type sourced interface{ Sources() Sources }

func (f first) Renew(ctx context.Context, current wire.Identity, token string) (wire.Identity, error) {
	for _, a := range f {
		r, ok := a.(Renewer)
		if !ok {
			continue
		}
		i, err := r.Renew(ctx, current, token)
		if !errors.Is(err, ErrNoCredential) {
			return i, err
		}
	}
	return wire.Identity{}, ErrNoCredential
}
