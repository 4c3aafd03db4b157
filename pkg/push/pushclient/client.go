// Package pushclient is a client of the push API that gateways serve on their internal
// listener, for backends that are no node of the backplane.
//
//	c, err := pushclient.New("http://gateway:9090", pushclient.Config{Key: key})
//	r, err := c.Push(ctx, push.Message{To: router.ToUser("alice"), Path: "/notify", Data: order})
//
// Its errors are those of package connect: connect.CodeOf(err) tells what is wrong, and
// docs/api.md what to do. A [Client] holds nothing but an HTTP client, and may be used
// from many goroutines.
package pushclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/push/pushapi/v1/pushv1connect"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Config is how a gateway is spoken to.
type Config struct {
	// Key is the caller's key. Default: none.
	Key string
	// Timeout bounds calls whose context has no deadline. Default 10 s. A push that may
	// take longer has 5 s more than its own timeout.
	Timeout time.Duration
	// HTTPClient is used for requests. Default: one of its own.
	HTTPClient *http.Client
}

// DefaultTimeout is that of [Config].
const DefaultTimeout = 10 * time.Second

// answerTime is how much longer than a push's timeout its answer is waited for.
const answerTime = 5 * time.Second

// Client calls the push API. What has no method here is called through API.
type Client struct {
	api     pushv1connect.PushServiceClient
	timeout time.Duration
}

// New makes a client of the gateway, or the load balancer of gateways, whose internal
// listener has a URL.
func New(base string, cfg Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("pushclient.New: %q is no http:// or https:// URL", base)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{}
	}
	c := &Client{timeout: cfg.Timeout}
	auth := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			if cfg.Key != "" {
				r.Header().Set("Authorization", "Bearer "+cfg.Key)
			}
			if _, ok := ctx.Deadline(); !ok {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.timeout)
				defer cancel()
			}
			return next(ctx, r)
		}
	})
	c.api = pushv1connect.NewPushServiceClient(cfg.HTTPClient, strings.TrimRight(base, "/"), connect.WithInterceptors(auth))
	return c, nil
}

// API is the generated client, with the key and timeout of this one.
func (c *Client) API() pushv1connect.PushServiceClient { return c.api }

// Result says what became of a push; see push.proto.
type Result = pushv1.PushResponse

// Push sends a message. An idempotencyKey lets the call be repeated when its outcome is
// unknown, at any gateway: if it was done, the answer is that of before, and it is not
// done again. Data is encoded as JSON; [router.Payloads] are for handlers only.
func (c *Client) Push(ctx context.Context, m router.Push, idempotencyKey string) (*Result, error) {
	r, err := request(m)
	if err != nil {
		return nil, err
	}
	r.IdempotencyKey = idempotencyKey
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		timeout := c.timeout
		if m.Timeout >= timeout {
			timeout = m.Timeout + answerTime
		}
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	response, err := c.api.Push(ctx, connect.NewRequest(r))
	if err != nil {
		return nil, err
	}
	return response.Msg, nil
}

func request(m router.Push) (*pushv1.PushRequest, error) {
	if m.Timeout != 0 && (m.Timeout < time.Millisecond || m.Timeout > router.MaxPushTimeout) { // what is sent is a uint32, and 0 is the default
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("push: the timeout is %v; allowed is 1ms to %v", m.Timeout, router.MaxPushTimeout))
	}
	r := &pushv1.PushRequest{
		To: target(m.To), Path: m.Path, ExceptSockets: m.Except, ExceptUsers: m.ExceptUsers, Key: m.Key,
		TimeoutMs: uint32(m.Timeout.Milliseconds()),
		Policy:    pushv1.Policy(int32(m.Policy) + 1), // in the same order
	}
	switch data := m.Data.(type) {
	case nil:
		return r, nil
	case router.Payloads:
		return nil, errors.New("push: data with an encoding of its own cannot be sent through the API")
	case router.Raw:
		r.Payload = &pushv1.PushRequest_Json{Json: data}
	default:
		text, err := json.Marshal(data)
		if err != nil {
			return nil, fmt.Errorf("push: data: %w", err)
		}
		r.Payload = &pushv1.PushRequest_Json{Json: text}
	}
	return r, nil
}

func target(t router.Target) *pushv1.Target {
	switch t.Kind {
	case wire.TargetSocket:
		return &pushv1.Target{To: &pushv1.Target_Socket{Socket: t.Name}}
	case wire.TargetUser:
		return &pushv1.Target{To: &pushv1.Target_User{User: t.Name}}
	case wire.TargetGroup:
		return &pushv1.Target{To: &pushv1.Target_Group{Group: t.Name}}
	case wire.TargetGateway:
		return &pushv1.Target{To: &pushv1.Target_Gateway{Gateway: t.Name}}
	case wire.TargetAll:
		return &pushv1.Target{To: &pushv1.Target_All{All: true}}
	}
	return nil
}

// DisconnectSocket closes a socket. Code 0 is 1008.
func (c *Client) DisconnectSocket(ctx context.Context, id string, code uint32, reason string) error {
	_, err := c.api.Disconnect(ctx, connect.NewRequest(&pushv1.DisconnectRequest{
		Who: &pushv1.DisconnectRequest_Socket{Socket: id}, Code: code, Reason: reason,
	}))
	return err
}

// DisconnectUser closes all sockets of a user and returns how many those were, and
// which gateways did not answer. Code 0 is 1008.
func (c *Client) DisconnectUser(ctx context.Context, user string, code uint32, reason string) (n int, unanswered []string, err error) {
	r, err := c.api.Disconnect(ctx, connect.NewRequest(&pushv1.DisconnectRequest{
		Who: &pushv1.DisconnectRequest_User{User: user}, Code: code, Reason: reason,
	}))
	if err != nil {
		return 0, nil, err
	}
	return int(r.Msg.GetDisconnected()), r.Msg.GetUnanswered(), nil
}

// Sockets calls f for each socket of a target until it returns false. Those of gateways
// that did not answer are missing; the gateways are returned.
func (c *Client) Sockets(ctx context.Context, of router.Target, f func(*pushv1.Socket) bool) (unanswered []string, err error) {
	r := &pushv1.ListSocketsRequest{Of: target(of), PageSize: 500}
	for {
		page, err := c.api.ListSockets(ctx, connect.NewRequest(r))
		if err != nil {
			return unanswered, err
		}
		unanswered = append(unanswered, page.Msg.GetUnanswered()...)
		for _, s := range page.Msg.GetSockets() {
			if !f(s) {
				return unanswered, nil
			}
		}
		if r.PageToken = page.Msg.GetNextPageToken(); r.GetPageToken() == "" {
			return unanswered, nil
		}
	}
}
