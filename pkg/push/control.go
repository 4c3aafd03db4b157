package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Connection is a [Receiver] that can be looked at, and acted on, from other nodes.
type Connection interface {
	Receiver
	// Describe tells about the socket, but not its groups.
	Describe() Socket
	// Disconnect begins to close the socket. It reports false if that has begun.
	Disconnect(code wire.CloseCode, reason string) bool
	// Membership returns what the socket belongs to; nil if it has ended.
	Membership() *Member
}

// Socket describes a socket.
type Socket struct {
	ID, User      string
	Gateway, Node string // the gateway's name, and the node it runs on
	Encoding      string
	RemoteAddr    string
	ConnectedAt   time.Time
	Groups        []string // of [Hub.Socket] only
}

// Affected tells of how many sockets something was done to.
type Affected struct {
	Sockets    int
	Unanswered []string // gateways that did not answer in time
}

// ErrNoSocket says that there is no such socket.
var ErrNoSocket = errors.New("there is no such socket")

// ErrTooLarge says that a message does not fit into a frame between nodes.
var ErrTooLarge = errors.New("the message is too large")

// ErrMessage says that a message cannot be sent as it is.
var ErrMessage = errors.New("the message is wrong")

// ErrRefused says that a gateway could not do what it was asked for.
var ErrRefused = errors.New("the gateway refused")

// order is what a node asks gateways to do with sockets.
type order struct {
	To     wire.Target
	Code   wire.CloseCode `json:",omitempty"`
	Reason string         `json:",omitempty"`
	Group  string         `json:",omitempty"`
	After  string         `json:",omitempty"`
	Limit  int            `json:",omitempty"`
	Groups bool           `json:",omitempty"`
}

// report is what a gateway's node answers.
type report struct {
	Sockets int       // of the target, or for how many it was done
	Since   time.Time // of a user or group
	List    []Socket  `json:",omitempty"`
	Error   string    `json:",omitempty"`
}

// The operations of requests between nodes.
const (
	opDisconnect = "disconnect"
	opJoin       = "join"
	opLeave      = "leave"
	opList       = "list"
)

// control has the hub answer what other nodes ask of this node's sockets.
func (h *Hub) control() {
	for op, f := range map[string]func(context.Context, order) report{
		opDisconnect: h.disconnectHere, opJoin: h.joinHere, opLeave: h.leaveHere, opList: h.listHere,
	} {
		h.HandleRequests(op, func(ctx context.Context, _ wire.Incarnation, body []byte) ([]byte, error) {
			var o order
			if err := json.Unmarshal(body, &o); err != nil {
				return nil, err
			}
			return json.Marshal(f(ctx, o))
		})
	}
}

// Disconnect closes the sockets of a target, wherever they are connected.
func (h *Hub) Disconnect(ctx context.Context, to wire.Target, code wire.CloseCode, reason string) (Affected, error) {
	return h.order(ctx, opDisconnect, order{To: to, Code: code, Reason: reason})
}

// Join puts the sockets that a target has now into a group. It returns when every push
// to the group that begins later reaches them.
func (h *Hub) Join(ctx context.Context, to wire.Target, group string) (Affected, error) {
	return h.order(ctx, opJoin, order{To: to, Group: group})
}

// Leave takes the sockets that a target has now out of a group.
func (h *Hub) Leave(ctx context.Context, to wire.Target, group string) (Affected, error) {
	return h.order(ctx, opLeave, order{To: to, Group: group})
}

// order has the gateways of a target do something and adds their reports up.
func (h *Hub) order(ctx context.Context, op string, o order) (Affected, error) {
	gateways, err := h.resolve(ctx, o.To)
	if err != nil {
		return Affected{}, fmt.Errorf("%s: %w", op, err)
	}
	reports, unanswered := h.ask(ctx, gateways, op, o)
	sum := Affected{Unanswered: unanswered}
	var errs []error
	for _, r := range reports {
		sum.Sockets += r.Sockets
		if r.Error != "" {
			errs = append(errs, fmt.Errorf("%w: %s", ErrRefused, r.Error))
		}
	}
	return sum, errors.Join(errs...)
}

// local returns n if g is this node; else 0.
func (h *Hub) local(g wire.Incarnation, n int) int {
	if g != h.self {
		return 0
	}
	return n
}

// ask asks gateways at the same time and returns what those answered that did.
func (h *Hub) ask(ctx context.Context, gateways []wire.Incarnation, op string, o order) (reports []report, unanswered []string) {
	body, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and numbers only
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // of the results
	for _, g := range gateways {
		wg.Go(func() {
			answer, err := h.Request(ctx, g, op, body)
			var r report
			if err == nil {
				err = json.Unmarshal(answer, &r)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unanswered = append(unanswered, string(g.Node))
				return
			}
			reports = append(reports, r)
		})
	}
	wg.Wait()
	slices.Sort(unanswered)
	return reports, unanswered
}

// connections calls f for each connection on this node that a target means.
func (h *Hub) connections(to wire.Target, f func(Connection)) {
	for _, r := range h.receivers(to, nil) {
		if c, ok := r.(Connection); ok {
			f(c)
		}
	}
}

func (h *Hub) disconnectHere(_ context.Context, o order) (r report) {
	h.connections(o.To, func(c Connection) {
		if c.Disconnect(o.Code, o.Reason) {
			r.Sockets++
		}
	})
	return r
}

func (h *Hub) joinHere(ctx context.Context, o order) (r report) {
	var all []Shown
	h.connections(o.To, func(c Connection) {
		m := c.Membership()
		if m == nil {
			return
		}
		s, err := m.Join(o.Group)
		switch {
		case err == nil:
			all = append(all, s)
		case !errors.Is(err, errEnded):
			r.Error = err.Error()
		}
	})
	for _, s := range all {
		select {
		case <-s.Done():
			if s.Err() == nil {
				r.Sockets++
			}
		case <-ctx.Done():
			r.Error = ctx.Err().Error()
		}
	}
	return r
}

func (h *Hub) leaveHere(_ context.Context, o order) (r report) {
	h.connections(o.To, func(c Connection) {
		if m := c.Membership(); m != nil {
			m.Leave(o.Group)
			r.Sockets++
		}
	})
	return r
}

// listHere describes sockets of this node, the first Limit ones behind After.
func (h *Hub) listHere(_ context.Context, o order) (r report) {
	var list []Connection
	byID := func(a, b Connection) int { return strings.Compare(string(a.SocketID()), string(b.SocketID())) }
	cut := func() {
		slices.SortFunc(list, byID)
		list = list[:min(len(list), o.Limit)]
	}
	h.connections(o.To, func(c Connection) {
		r.Sockets++
		if o.Limit > 0 && string(c.SocketID()) > o.After {
			if list = append(list, c); len(list) >= 2*maxPage {
				cut()
			}
		}
	})
	cut()
	for _, c := range list {
		s := c.Describe()
		s.Node = string(h.self.Node)
		if m := c.Membership(); m != nil && o.Groups {
			s.Groups = m.Groups()
		}
		r.List = append(r.List, s)
	}
	if o.To.Kind == wire.TargetUser || o.To.Kind == wire.TargetGroup {
		r.Since = h.index.since(roomKey{o.To.Kind, o.To.Name})
	}
	return r
}

// Socket describes one socket. The error may be [ErrNoSocket] or [ErrUnanswered].
func (h *Hub) Socket(ctx context.Context, id string) (Socket, error) {
	to := wire.Target{Kind: wire.TargetSocket, Name: id}
	gateways, err := h.resolve(ctx, to)
	if err != nil {
		return Socket{}, err
	}
	reports, unanswered := h.ask(ctx, gateways, opList, order{To: to, Limit: 1, Groups: true})
	for _, r := range reports {
		for _, s := range r.List {
			return s, nil
		}
	}
	if len(unanswered) > 0 {
		return Socket{}, fmt.Errorf("%w: %s", ErrUnanswered, unanswered[0])
	}
	return Socket{}, ErrNoSocket
}

// audienceHosts returns the gateways of a user or group, as Redis has them now.
func (h *Hub) audienceHosts(ctx context.Context, a registry.Audience) ([]wire.Incarnation, error) {
	found, err := h.registry.Hosts(ctx, a, false)
	if err != nil {
		return nil, err
	}
	var list []wire.Incarnation
	for g := range found {
		list = append(list, g)
	}
	slices.SortFunc(list, compareIncarnations)
	return list, nil
}
