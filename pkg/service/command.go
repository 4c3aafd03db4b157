package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var _ router.GatewayConn = (*socket)(nil)

// commandTimeout is how long a gateway may take to obey. Handlers have contexts that
// usually end earlier; those of UseClose have not.
const commandTimeout = 10 * time.Second

// commands are what a socket's gateway was asked for and has not answered.
type commands struct {
	mu      sync.Mutex
	last    uint64                // guarded by mu
	waiting map[uint64]chan error // guarded by mu
	over    bool                  // guarded by mu: nobody will answer
}

// add notes a command.
func (c *commands) add() (number uint64, answer chan error, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, nil, false
	}
	c.last++
	answer = make(chan error, 1)
	if c.waiting == nil {
		c.waiting = map[uint64]chan error{}
	}
	c.waiting[c.last] = answer
	return c.last, answer, true
}

// settle answers a command, if somebody waits for it.
func (c *commands) settle(number uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.waiting[number]; ok {
		delete(c.waiting, number)
		answer <- err
	}
}

// end fails all commands, also those to come.
func (c *commands) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for number, answer := range c.waiting {
		delete(c.waiting, number)
		answer <- router.ErrSocketClosed
	}
}

// JoinGroup implements router.GatewayConn.
func (k *socket) JoinGroup(ctx context.Context, group string) error {
	return k.command(ctx, wire.Command{Op: wire.OpJoin, Name: group})
}

// LeaveGroup implements router.GatewayConn.
func (k *socket) LeaveGroup(ctx context.Context, group string) error {
	return k.command(ctx, wire.Command{Op: wire.OpLeave, Name: group})
}

// SetUser implements router.GatewayConn.
func (k *socket) SetUser(ctx context.Context, user string) error {
	return k.command(ctx, wire.Command{Op: wire.OpSetUser, Name: user})
}

// WatchGroup implements router.GatewayConn.
func (k *socket) WatchGroup(ctx context.Context, group, path string) error {
	return k.command(ctx, wire.Command{Op: wire.OpWatch, Name: group, Path: path})
}

// UnwatchGroup implements router.GatewayConn.
func (k *socket) UnwatchGroup(ctx context.Context, group string) error {
	return k.command(ctx, wire.Command{Op: wire.OpUnwatch, Name: group})
}

// Push implements router.GatewayConn.
func (k *socket) Push(ctx context.Context, p router.Push) (router.PushResult, error) {
	return push.Of(k.service.bp).Push(ctx, p)
}

// command asks the socket's gateway for something and waits until it has taken
// effect.
func (k *socket) command(ctx context.Context, c wire.Command) error {
	if len(c.Name) > wire.MaxTargetName || c.Name == "" && c.Op != wire.OpSetUser {
		return fmt.Errorf("a name of %d bytes; allowed are 1 to %d", len(c.Name), wire.MaxTargetName)
	}
	number, answer, ok := k.commands.add()
	if !ok {
		return router.ErrSocketClosed
	}
	c.Number = number
	if err := k.stream.SendCommand(c); err != nil {
		k.commands.settle(number, nil)
		if errors.Is(err, link.ErrReset) {
			return router.ErrSocketClosed
		}
		return err
	}
	timeout := time.NewTimer(commandTimeout)
	defer timeout.Stop()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		k.commands.settle(number, nil)
		return ctx.Err()
	case <-timeout.C:
		k.commands.settle(number, nil)
		return fmt.Errorf("the gateway did not answer within %v", commandTimeout)
	}
}

// obeyed takes the answer to a command.
func (k *socket) obeyed(body []byte) {
	r, err := wire.ParseCommandResult(body)
	if err != nil {
		k.violation(ViolationFrame, err)
		return
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	k.commands.settle(r.Number, err)
}
