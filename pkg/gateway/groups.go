package gateway

import (
	"context"
	"errors"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var errSocketEnded = errors.New("the socket has ended")

// Membership implements [push.Connection]: what users and groups the socket belongs
// to; nil if it has ended.
func (c *conn) Membership() *push.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == nil && c.state < connGone {
		c.member = c.g.hub.NewMember(c)
	}
	return c.member
}

// endMembership takes the socket out of everything.
func (c *conn) endMembership() {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	if m != nil {
		m.End()
	}
}

// User implements [push.Receiver].
func (c *conn) User() string {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	if m == nil {
		return ""
	}
	return m.User()
}

// setUser makes the socket one of a user's; "" one of nobody's.
func (c *conn) setUser(user string) (push.Shown, error) {
	m := c.Membership()
	if m == nil {
		return nil, errSocketEnded
	}
	shown, err := m.SetUser(user)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.userShown = shown
	c.mu.Unlock()
	return shown, nil
}

// authenticated makes the socket one of the user's that the gateway has established,
// who may be nobody.
func (c *conn) authenticated(user string) {
	if user == "" && c.User() == "" {
		return
	}
	if _, err := c.setUser(user); err != nil && !errors.Is(err, errSocketEnded) {
		c.g.log.Warn("pushes to a user will not reach a socket", "socket", c.id, "err", err)
	}
}

// awaitUser waits until pushes to the socket's user reach it, so that this is so when
// a handler learns of the socket.
func (c *conn) awaitUser(ctx context.Context) {
	c.mu.Lock()
	shown := c.userShown
	c.mu.Unlock()
	if shown == nil {
		return
	}
	select {
	case <-shown.Done():
	case <-ctx.Done():
	}
}

// command does what a handler asks for. The answer waits until it has taken effect
// everywhere.
func (p *pin) command(body []byte) error {
	cmd, err := wire.ParseCommand(body)
	if err != nil {
		return err
	}
	shown, err := p.c.obey(cmd)
	if err != nil || shown == nil {
		p.obeyed(cmd, err)
		return nil
	}
	select {
	case <-shown.Done():
		p.obeyed(cmd, shown.Err())
	default:
		go func() {
			select {
			case <-shown.Done():
				p.obeyed(cmd, shown.Err())
			case <-p.c.ctx.Done():
				p.obeyed(cmd, errSocketEnded)
			}
		}()
	}
	return nil
}

func (c *conn) obey(cmd wire.Command) (push.Shown, error) {
	if cmd.Op == wire.OpSetUser {
		return c.setUser(cmd.Name)
	}
	m := c.Membership()
	if m == nil {
		return nil, errSocketEnded
	}
	switch cmd.Op {
	case wire.OpLeave:
		m.Leave(cmd.Name)
		return nil, nil
	case wire.OpUnwatch:
		m.Unwatch(cmd.Name)
		return nil, nil
	case wire.OpWatch:
		return m.Watch(cmd.Name, cmd.Path)
	default:
		return m.Join(cmd.Name)
	}
}

// obeyed answers a command.
func (p *pin) obeyed(cmd wire.Command, err error) {
	r := wire.CommandResult{Number: cmd.Number}
	if err != nil {
		r.Error = err.Error()
	}
	_ = p.stream.SendCommandResult(r) // on an error, a reset follows
}
