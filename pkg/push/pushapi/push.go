package pushapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Push implements the service.
func (a *API) Push(ctx context.Context, r *connect.Request[pushv1.PushRequest]) (*connect.Response[pushv1.PushResponse], error) {
	response, err := a.push(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(response), nil
}

// PushMany implements the service.
func (a *API) PushMany(ctx context.Context, r *connect.Request[pushv1.PushManyRequest]) (*connect.Response[pushv1.PushManyResponse], error) {
	if n := len(r.Msg.GetPushes()); n == 0 || n > MaxPushes {
		return nil, invalid("want 1 to 100 pushes")
	}
	response := &pushv1.PushManyResponse{}
	for _, m := range r.Msg.GetPushes() {
		o := &pushv1.PushManyResponse_Outcome{}
		if result, err := a.push(ctx, m); err != nil {
			var e *connect.Error
			text := err.Error()
			if errors.As(err, &e) {
				text = e.Message()
			}
			o.Outcome = &pushv1.PushManyResponse_Outcome_Error{Error: &pushv1.PushManyResponse_Failure{
				Code: connect.CodeOf(err).String(), Message: text,
			}}
		} else {
			o.Outcome = &pushv1.PushManyResponse_Outcome_Result{Result: result}
		}
		response.Outcomes = append(response.Outcomes, o)
	}
	return connect.NewResponse(response), nil
}

// push does one push, unless that was done.
func (a *API) push(ctx context.Context, r *pushv1.PushRequest) (*pushv1.PushResponse, error) {
	key := r.GetIdempotencyKey()
	if len(key) > MaxIdempotencyKey {
		return nil, invalid("the idempotency key has more than 128 bytes")
	}
	m, err := message(ctx, r)
	if err != nil {
		return nil, err
	}
	do := func(ctx context.Context) (*pushv1.PushResponse, error) {
		result, err := a.hub.Push(ctx, m)
		if err != nil {
			return nil, failure(err)
		}
		return pushResponse(result), nil
	}
	if key == "" {
		return do(ctx)
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, failure(err)
	}
	d := deed{key: memoryKey{callerOf(ctx), key}, hash: sha256.Sum256(text)}
	return a.memory.once(ctx, d.key, d.hash, func(ctx context.Context) (*pushv1.PushResponse, error) {
		return a.once(ctx, d, do)
	})
}

// message is what a request wants to have pushed.
func message(ctx context.Context, r *pushv1.PushRequest) (push.Message, error) {
	to, err := target(r.GetTo())
	if err != nil {
		return push.Message{}, err
	}
	m := push.Message{
		To: to, Path: r.GetPath(), Except: r.GetExceptSockets(), ExceptUsers: r.GetExceptUsers(), Key: r.GetKey(),
		Timeout: time.Duration(r.GetTimeoutMs()) * time.Millisecond,
	}
	switch r.GetPolicy() {
	case pushv1.Policy_POLICY_UNSPECIFIED, pushv1.Policy_POLICY_WAIT:
		m.Policy = router.PushWait
	case pushv1.Policy_POLICY_DROP:
		m.Policy = router.PushDrop
	case pushv1.Policy_POLICY_LATEST:
		m.Policy = router.PushLatest
	default:
		return m, invalid("there is no such policy")
	}
	switch p := r.GetPayload().(type) {
	case *pushv1.PushRequest_Data:
		text, err := protojson.Marshal(p.Data)
		if err != nil {
			return m, invalid("data is no JSON value")
		}
		m.Data = json.RawMessage(text)
	case *pushv1.PushRequest_Json:
		if !json.Valid(p.Json) {
			return m, invalid("json is no JSON text")
		}
		m.Data = json.RawMessage(p.Json)
	}
	if end, ok := ctx.Deadline(); ok && m.Timeout == 0 { // leave time for the answer
		m.Timeout = min(push.DefaultTimeout, max(time.Until(end)*3/4, time.Millisecond))
	}
	return m, nil
}

// target is whom a request means.
func target(t *pushv1.Target) (wire.Target, error) {
	switch t := t.GetTo().(type) {
	case *pushv1.Target_Socket:
		return router.ToSocket(t.Socket), nil
	case *pushv1.Target_User:
		return router.ToUser(t.User), nil
	case *pushv1.Target_Group:
		return router.ToGroup(t.Group), nil
	case *pushv1.Target_Gateway:
		return router.ToGateway(t.Gateway), nil
	case *pushv1.Target_All:
		if t.All {
			return router.ToAll(), nil
		}
	}
	return wire.Target{}, invalid("say whom it is for: a socket, user, group or gateway, or all")
}

func pushResponse(r push.Result) *pushv1.PushResponse {
	response := &pushv1.PushResponse{
		Gateways: count(r.Gateways), Targeted: count(r.Targeted), Delivered: count(r.Delivered),
		DeliveredLocally: count(r.Local), Queued: count(r.Queued), Unanswered: r.Unanswered,
	}
	for reason, n := range r.Dropped {
		if response.Dropped == nil {
			response.Dropped = map[string]uint32{}
		}
		response.Dropped[string(reason)] = count(n)
	}
	return response
}

func count(n int) uint32 { return uint32(n) }
