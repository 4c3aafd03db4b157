package pushapi

import (
	"context"
	"errors"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Disconnect implements the service.
func (a *API) Disconnect(ctx context.Context, r *connect.Request[pushv1.DisconnectRequest]) (*connect.Response[pushv1.DisconnectResponse], error) {
	to, err := who(r.Msg)
	if err != nil {
		return nil, err
	}
	code, reason := wire.CloseCode(r.Msg.GetCode()), r.Msg.GetReason()
	if code == 0 {
		code = wire.ClosePolicy
	}
	if reason == "" {
		reason = "disconnected"
	}
	switch {
	case r.Msg.GetCode() > 4999, !closable(code):
		return nil, invalid("the code must be 1000, 1008, 1012, 1013 or 3000 to 4999")
	case len(reason) > wire.MaxCloseReasonLen || !utf8.ValidString(reason):
		return nil, invalid("the reason must be UTF-8 of at most 123 bytes")
	}
	n, err := a.hub.Disconnect(ctx, to, code, reason)
	if err = affected(to, n, err); err != nil {
		return nil, err
	}
	return connect.NewResponse(&pushv1.DisconnectResponse{Disconnected: count(n.Sockets), Unanswered: n.Unanswered}), nil
}

func closable(c wire.CloseCode) bool {
	switch c {
	case wire.CloseNormal, wire.ClosePolicy, wire.CloseRestart, wire.CloseTryAgain:
		return true
	default:
		return c >= 3000 && c <= 4999
	}
}

// GetSocket implements the service.
func (a *API) GetSocket(ctx context.Context, r *connect.Request[pushv1.GetSocketRequest]) (*connect.Response[pushv1.GetSocketResponse], error) {
	if r.Msg.GetId() == "" {
		return nil, invalid("say which socket")
	}
	s, err := a.hub.Socket(ctx, r.Msg.GetId())
	if err != nil {
		return nil, failure(err)
	}
	return connect.NewResponse(&pushv1.GetSocketResponse{Socket: socket(s)}), nil
}

// ListSockets implements the service.
func (a *API) ListSockets(ctx context.Context, r *connect.Request[pushv1.ListSocketsRequest]) (*connect.Response[pushv1.ListSocketsResponse], error) {
	to := router.ToAll()
	if r.Msg.GetOf() != nil {
		var err error
		if to, err = target(r.Msg.GetOf()); err != nil {
			return nil, err
		}
	}
	p, err := a.hub.Sockets(ctx, to, push.Page{Size: size(r.Msg.GetPageSize()), From: r.Msg.GetPageToken()})
	if err != nil {
		return nil, failure(err)
	}
	response := &pushv1.ListSocketsResponse{NextPageToken: p.Next, Unanswered: p.Unanswered}
	for _, s := range p.Sockets {
		response.Sockets = append(response.Sockets, socket(s))
	}
	return connect.NewResponse(response), nil
}

// Presence implements the service.
func (a *API) Presence(ctx context.Context, r *connect.Request[pushv1.PresenceRequest]) (*connect.Response[pushv1.PresenceResponse], error) {
	var to wire.Target
	switch of := r.Msg.GetOf().(type) {
	case *pushv1.PresenceRequest_User:
		to = router.ToUser(of.User)
	case *pushv1.PresenceRequest_Group:
		to = router.ToGroup(of.Group)
	}
	if to.Name == "" {
		return nil, invalid("say of which user or group")
	}
	p, err := a.hub.Presence(ctx, to, push.Page{Size: size(r.Msg.GetPageSize()), From: r.Msg.GetPageToken()})
	if err != nil {
		return nil, failure(err)
	}
	response := &pushv1.PresenceResponse{
		Online: p.Sockets > 0, Sockets: count(p.Sockets), NextPageToken: p.Members.Next, Unanswered: p.Members.Unanswered,
	}
	if p.Sockets > 0 {
		response.Since = timestamppb.New(p.Since)
	}
	for _, s := range p.Members.Sockets {
		response.Members = append(response.Members, &pushv1.Member{Socket: s.ID, User: s.User, ConnectedAt: timestamppb.New(s.ConnectedAt)})
	}
	return connect.NewResponse(response), nil
}

// Join implements the service.
func (a *API) Join(ctx context.Context, r *connect.Request[pushv1.JoinRequest]) (*connect.Response[pushv1.JoinResponse], error) {
	to, err := who(r.Msg)
	if err != nil {
		return nil, err
	}
	if err := group(r.Msg.GetGroup()); err != nil {
		return nil, err
	}
	n, err := a.hub.Join(ctx, to, r.Msg.GetGroup())
	if err = affected(to, n, err); err != nil {
		return nil, err
	}
	return connect.NewResponse(&pushv1.JoinResponse{Sockets: count(n.Sockets), Unanswered: n.Unanswered}), nil
}

// Leave implements the service.
func (a *API) Leave(ctx context.Context, r *connect.Request[pushv1.LeaveRequest]) (*connect.Response[pushv1.LeaveResponse], error) {
	to, err := who(r.Msg)
	if err != nil {
		return nil, err
	}
	if err := group(r.Msg.GetGroup()); err != nil {
		return nil, err
	}
	n, err := a.hub.Leave(ctx, to, r.Msg.GetGroup())
	if err = affected(to, n, err); err != nil {
		return nil, err
	}
	return connect.NewResponse(&pushv1.LeaveResponse{Sockets: count(n.Sockets), Unanswered: n.Unanswered}), nil
}

// who is the socket or user that a request is about.
func who(r interface {
	GetSocket() string
	GetUser() string
},
) (wire.Target, error) {
	switch {
	case r.GetSocket() != "":
		return router.ToSocket(r.GetSocket()), nil
	case r.GetUser() != "":
		return router.ToUser(r.GetUser()), nil
	}
	return wire.Target{}, invalid("say which socket or user")
}

func group(name string) error {
	if name == "" || len(name) > wire.MaxTargetName {
		return invalid("the name of a group has 1 to 256 bytes")
	}
	return nil
}

// affected turns what was done to nobody into an error, if the socket does not exist.
func affected(to wire.Target, n push.Affected, err error) error {
	switch {
	case err != nil:
		return failure(err)
	case to.Kind == wire.TargetSocket && n.Sockets == 0 && len(n.Unanswered) == 0:
		return failure(push.ErrNoSocket)
	case to.Kind == wire.TargetSocket && n.Sockets == 0:
		return connect.NewError(connect.CodeUnavailable, errors.New("the socket's gateway did not answer"))
	}
	return nil
}

func size(n uint32) int { return int(min(n, 1<<20)) }

func socket(s push.Socket) *pushv1.Socket {
	return &pushv1.Socket{
		Id: s.ID, User: s.User, Gateway: s.Gateway, Node: s.Node, Encoding: s.Encoding,
		RemoteAddress: s.RemoteAddr, ConnectedAt: timestamppb.New(s.ConnectedAt), Groups: s.Groups,
	}
}
