package router

import (
	"context"
	"errors"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// MaxPushTimeout bounds the timeout of a push.
const MaxPushTimeout = time.Minute

// Push is a message that answers nothing, to sockets wherever they are connected.
type Push struct {
	// To says whom it is for: [ToSocket], [ToUser], [ToGroup], [ToAll] or [ToGateway].
	To Target
	// Except are ids of sockets that do not get it, [Context.SocketID] in "all in the
	// room but me". ExceptUsers are users none of whose sockets get it. 256 at most.
	Except      []string
	ExceptUsers []string
	// Path is what the client's envelope has as its path. Optional.
	Path string
	// Data is encoded once, as JSON; MessagePack clients get the same values, Protobuf
	// clients the JSON text as their data. json.RawMessage and [Raw] on a socket that
	// speaks JSON go as they are. With [Payloads] each client gets what is there for
	// its encoding. nil: no data.
	Data any
	// Policy says what happens for clients that do not keep up. Default: PushWait.
	Policy PushPolicy
	// Key is what a later push replaces, with PushLatest. Default: the path.
	Key string
	// Timeout bounds the whole push. Default 5 s; at most MaxPushTimeout.
	Timeout time.Duration
}

// Payloads is data that is already encoded, per encoding. A client whose encoding is
// missing gets it transcoded from JSON or MessagePack, if one of those is there.
type Payloads map[envelope.Encoding][]byte

// Target is whom a push is for.
type Target = wire.Target

// ToSocket is one socket, by its id.
func ToSocket(id string) Target { return Target{Kind: wire.TargetSocket, Name: id} }

// ToUser is all sockets of a user.
func ToUser(user string) Target { return Target{Kind: wire.TargetUser, Name: user} }

// ToGroup is all sockets that joined a group.
func ToGroup(group string) Target { return Target{Kind: wire.TargetGroup, Name: group} }

// ToAll is every socket.
func ToAll() Target { return Target{Kind: wire.TargetAll} }

// ToGateway is every socket that is connected to a gateway of that name.
func ToGateway(name string) Target { return Target{Kind: wire.TargetGateway, Name: name} }

// PushPolicy says what becomes of a push for a client that does not keep up: one for
// which the gateway holds pushes of its push window (256 KiB) already.
type PushPolicy = wire.Policy

// The policies.
const (
	// PushWait waits for the client, and the sender of the push with it; at the end of
	// the push's timeout it is dropped, and at once while pushes of four windows wait.
	PushWait = wire.PolicyWait
	// PushDrop drops it.
	PushDrop = wire.PolicyDrop
	// PushLatest keeps it in line until the client takes it or a later push with the
	// same key replaces it.
	PushLatest = wire.PolicyLatest
)

// PushResult says what became of a push.
type PushResult struct {
	// Gateways is how many gateways the push was sent to.
	Gateways int
	// Targeted is how many sockets it was for, on the gateways that answered.
	Targeted int
	// Delivered is for how many of them it was handed to the client's connection,
	// before or after other messages that wait to be written there. It is not a proof
	// that the client has read it.
	Delivered int
	// Local is how many of these are connected to a gateway on this node.
	Local int
	// Queued is for how many it is in line on a slow connection (PushLatest).
	Queued int
	// Dropped is for how many it was dropped, by reason.
	Dropped map[wire.DropReason]int
	// Unanswered are the gateways that did not answer in time or were lost: the push
	// may have reached their sockets or not.
	Unanswered []string
}

// ErrNoGateway is returned by what needs a gateway when the socket has none, as in
// [Router.ServeHTTP].
var ErrNoGateway = errors.New("the socket is not connected through a gateway")

// GatewayConn is a [Conn] to a gateway. Each method returns when it has taken effect,
// or ctx ends. What concerns the socket takes effect in order with what is sent to it.
type GatewayConn interface {
	Conn
	Push(ctx context.Context, p Push) (PushResult, error)
	JoinGroup(ctx context.Context, group string) error
	LeaveGroup(ctx context.Context, group string) error
	SetUser(ctx context.Context, user string) error
	WatchGroup(ctx context.Context, group, path string) error
	UnwatchGroup(ctx context.Context, group string) error
}

// gateway returns the socket's connection to a gateway and the context of its calls.
func (c *Context) gateway() (GatewayConn, *socket, error) {
	s := c.socket()
	if s == nil {
		return nil, nil, ErrContextFreed
	}
	g, ok := s.conn.(GatewayConn)
	if !ok {
		return nil, nil, ErrNoGateway
	}
	return g, s, nil
}

// Push sends a message to sockets anywhere. It returns when every gateway that has
// some of them has answered, or at the end of the push's timeout, with what is known.
// An error says that nothing or not everything could be sent. Pushes of one handler
// reach each socket in the order of the calls, but have no order with what Send sends.
//
// A push reaches every socket whose JoinGroup, SetUser or connection had succeeded
// when the call began, in whatever instance. See package push.
func (c *Context) Push(p Push) (PushResult, error) {
	g, s, err := c.gateway()
	if err != nil {
		return PushResult{}, err
	}
	if raw, ok := p.Data.(Raw); ok {
		p.Data = Payloads{s.encoding: raw}
	}
	return g.Push(c, p)
}

// JoinGroup puts the socket into a group: a name of 1 to 256 bytes. The socket stays
// in it until LeaveGroup or its end, also when another instance takes it over.
// Joining twice is joining once. When JoinGroup has returned nil, every push to the
// group that begins later, anywhere, reaches the socket. After an error the socket
// may be in the group or not.
func (c *Context) JoinGroup(group string) error {
	g, _, err := c.gateway()
	if err != nil {
		return err
	}
	return g.JoinGroup(c, group)
}

// LeaveGroup takes the socket out of a group: pushes that begin later do not reach it.
func (c *Context) LeaveGroup(group string) error {
	g, _, err := c.gateway()
	if err != nil {
		return err
	}
	return g.LeaveGroup(c, group)
}

// SetUser makes the socket one of a user's, a name of up to 256 bytes, in place of
// the user that it was authenticated as. "" makes it nobody's. It has the guarantees
// of JoinGroup.
func (c *Context) SetUser(user string) error {
	g, _, err := c.gateway()
	if err != nil {
		return err
	}
	return g.SetUser(c, user)
}

// WatchGroup has the client told who is in a group, and from then on who joins and who
// leaves, by pushes with a path; "" means "/presence". The socket need not be in the
// group. The first push lists the members; the others tell what has changed since,
// gathered for 50 ms and, in a group of n members, for n ms, 5 s at most. Each member leaves
// exactly once, also if its gateway crashes: then within two lease times. A client that
// does not keep up gets the list again. docs/protocol.md shows what the pushes carry.
// When WatchGroup has returned nil, the gateways have told who is there. The end of the
// socket ends it, as UnwatchGroup does.
func (c *Context) WatchGroup(group, path string) error {
	g, _, err := c.gateway()
	if err != nil {
		return err
	}
	return g.WatchGroup(c, group, path)
}

// UnwatchGroup ends [Context.WatchGroup].
func (c *Context) UnwatchGroup(group string) error {
	g, _, err := c.gateway()
	if err != nil {
		return err
	}
	return g.UnwatchGroup(c, group)
}
