package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/test/cluster"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// stack is everything that a run talks to, each part in a process of its own.
type stack struct {
	programs cluster.Programs
	dir      string // of the programs
	redis    *redistest.Server
	running  []*cluster.Process
	systems  int // that were started; each has a namespace of its own
}

// newStack compiles the programs and starts a Redis.
func newStack(ctx context.Context) (_ *stack, err error) {
	s := &stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "boreas-bench"); err != nil {
		return nil, err
	}
	if s.programs, err = cluster.Build(ctx, s.dir); err != nil {
		return nil, err
	}
	s.redis, err = redistest.Run(ctx, redistest.Config{TCP: true})
	return s, err
}

func (s *stack) close() error {
	s.stop()
	var err error
	if s.redis != nil {
		err = s.redis.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// stop ends all processes but Redis.
func (s *stack) stop() {
	for _, p := range s.running {
		_ = p.Kill()
	}
	s.running = nil
}

func (s *stack) started(p *cluster.Process) { s.running = append(s.running, p) }

// bare starts the bare echo server.
func (s *stack) bare(ctx context.Context) (*target, error) {
	p, addr, err := startRole(ctx, roleBare)
	if err != nil {
		return nil, err
	}
	s.started(p)
	return &target{name: nameBare, addr: addr, path: "/", procs: []process{{"echo", p.PID(), addr}}}, nil
}

// pong starts the far end of the ping-pong and returns the processes whose CPU it
// costs.
func (s *stack) pong(ctx context.Context) ([]process, error) {
	p, _, err := startRole(ctx, rolePong, s.redis.TCPURL())
	if err != nil {
		return nil, err
	}
	s.started(p)
	return []process{{"pong", p.PID(), ""}, {"redis", s.redis.PID(), ""}}, nil
}

// instruments says whether a gateway and a service count what happens.
type instruments string

const (
	metered instruments = "metered"
	plain   instruments = "plain"
)

// boreas starts a gateway and an instance of the chat service, and returns when a
// message finds its way through both.
func (s *stack) boreas(ctx context.Context, i instruments) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.systems++
	namespace := fmt.Sprintf("bench%d", s.systems)
	chat, debug, err := startRole(ctx, roleChat, s.redis.TCPURL(), namespace, string(i))
	if err != nil {
		return nil, err
	}
	s.started(chat)
	flags := []string{"--namespace", namespace}
	name := nameBoreas
	if i == plain {
		flags = append(flags, "--no-metrics")
		name = namePlain
	}
	return s.gateway(ctx, name, s.programs, chat, debug, flags...)
}

// gateway starts a gateway before a service, and returns when a message finds its way
// through both.
func (s *stack) gateway(ctx context.Context, name string, programs cluster.Programs, service *cluster.Process, debug string, flags ...string) (*target, error) {
	gw, err := programs.StartGateway(ctx, "gw", s.redis.TCPURL(), flags...)
	if err != nil {
		return nil, err
	}
	s.started(gw.Process)
	t := &target{name: name, addr: gw.Addr, path: "/ws", procs: []process{
		{"gateway", gw.PID(), gw.Internal},
		{"service", service.PID(), debug},
		{"redis", s.redis.PID(), ""},
	}}
	if err := awaitReply(ctx, t); err != nil {
		return nil, fmt.Errorf("%w\nlog of the gateway:\n%s\nlog of the service:\n%s", err, gw.Log(), service.Log())
	}
	return t, nil
}

// awaitReply returns when t answers a message.
func awaitReply(ctx context.Context, t *target) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := dial(ctx, t)
		if err == nil {
			err = c.roundTrip()
			c.close()
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
