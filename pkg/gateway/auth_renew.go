package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// AuthPath is the path of messages between a client and its gateway about the
// client's identity. Messages with it never reach a service.
//
//	gateway -> {"path":"/$auth","data":{"event":"token_expiring","expires_in":60}}
//	client  -> {"path":"/$auth","id":"1","data":{"token":"..."}}
//	gateway -> {"id":"1","data":{"user":"alice","expires_in":3600}}
//
// The data is in the connection's encoding; with Protobuf it is a JSON text.
const AuthPath = "/$auth"

// renewal is the data of a client's message to AuthPath.
type renewal struct {
	Token string `json:"token" msgpack:"token"`
}

// renewed is the data of the answer.
type renewed struct {
	User string `json:"user" msgpack:"user"`
	// ExpiresIn is in seconds; absent when the identity does not expire.
	ExpiresIn int64 `json:"expires_in,omitempty" msgpack:"expires_in,omitempty"`
}

// expiring is the data of the warning.
type expiring struct {
	Event     string `json:"event" msgpack:"event"`
	ExpiresIn int64  `json:"expires_in" msgpack:"expires_in"`
}

// decodeRenewal reads the data of a client's message to AuthPath.
func decodeRenewal(e envelope.Encoding, data []byte) (token string, err error) {
	var r renewal
	if e == envelope.MsgPack {
		err = msgpack.Unmarshal(data, &r)
	} else {
		err = json.Unmarshal(data, &r)
	}
	if err != nil || r.Token == "" {
		return "", errors.New("the data has no token") // the decoder's words may quote it
	}
	if len(r.Token) > auth.MaxCredential {
		return "", errors.New("the token is too long")
	}
	return r.Token, nil
}

// encodeData writes data of the gateway's own.
func encodeData(e envelope.Encoding, v any) []byte {
	var b []byte
	var err error
	if e == envelope.MsgPack {
		b, err = msgpack.Marshal(v)
	} else {
		b, err = json.Marshal(v)
	}
	if err != nil {
		panic(err) // not with the types above
	}
	return b
}

// seconds is a duration for a client: rounded up, 0 when it is over.
func seconds(d time.Duration) int64 { return int64(math.Ceil(max(d, 0).Seconds())) }

// renew takes a client's new token. Only the read loop calls it: until the client
// has its answer, nothing more of it is handled.
func (c *conn) renew(head envelope.Head) {
	token, err := decodeRenewal(c.encoding, head.Data)
	if err != nil {
		c.refuse(head.ID, &envelope.Failure{Code: wire.CodeValidation, Message: err.Error()})
		return
	}
	current := c.client.who()
	identity, refusal := c.askForRenewal(current, token)
	if refusal == nil && identity.User != current.User {
		refusal = &auth.Refusal{Code: auth.Denied, Text: "the token is another user's: connect again to change the user"}
	}
	c.g.hooks.Renewed(current.Method, refusal == nil)
	if refusal != nil {
		c.g.logRefusal("a client's new token was refused", c.client, refusal)
		failure := &envelope.Failure{Code: wire.CodeUnauthorized, Message: refusal.Text}
		if refusal.Code == auth.Unavailable {
			failure.Code, failure.RetryAfter = wire.CodeUnavailable, retryUnavailable
		}
		c.refuse(head.ID, failure)
		return
	}
	c.identify(identity)
	c.g.wheel.plan(c, 1) // it may expire sooner than what it replaces
	answer := renewed{User: identity.User}
	if !identity.Expires.IsZero() {
		answer.ExpiresIn = seconds(time.Until(identity.Expires))
	}
	c.answer(c.encoding.AppendMessage(nil, envelope.Message{ID: string(head.ID), Data: encodeData(c.encoding, answer)}))
}

// askForRenewal asks the Authenticator what a client is by a new token. Like bind, it
// does so in another goroutine, whose stack may grow.
func (c *conn) askForRenewal(current wire.Identity, token string) (identity wire.Identity, refusal *auth.Refusal) {
	renewer, ok := c.g.cfg.Authenticator.(auth.Renewer)
	if !ok {
		return identity, errNothingToRenew
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.g.cfg.AuthTimeout)
	defer cancel()
	c.setSearching(cancel)
	defer c.setSearching(nil)
	c.held.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		identity, refusal = c.g.judge(func() (wire.Identity, error) { return renewer.Renew(ctx, current, token) })
	}()
	<-done
	c.held.Store(false)
	c.alive()
	if refusal != nil && refusal.Code == auth.NoCredential {
		return identity, errNothingToRenew
	}
	return identity, refusal
}

var errNothingToRenew = &auth.Refusal{Code: auth.Denied, Text: "this connection has nothing to renew"}

// warnOfExpiry tells the client that its identity is going to expire.
func (c *conn) warnOfExpiry(left time.Duration) {
	data := encodeData(c.encoding, expiring{Event: "token_expiring", ExpiresIn: seconds(left)})
	msg := c.encoding.AppendMessage(nil, envelope.Message{Path: AuthPath, Data: data})
	c.mu.Lock()
	if c.state == connOpen {
		c.queueFrame(final|byte(c.encoding.MessageType()), msg)
		c.startWriter()
	}
	c.mu.Unlock()
}
