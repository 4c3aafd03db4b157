package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// Fault is one way in which things break.
type Fault struct {
	Number int
	Name   string
	// Backend is the kind of Redis that it is injected into.
	Backend string
	// anywhere is true if it makes sense on every kind of Redis: the random mixes
	// there have it, too.
	anywhere bool
	// args are options of redis-server.
	args []string
	// codes are the close codes with which sessions of the nodes that it hits may end.
	codes []int
	// refuses is true if pins take longer than gateways wait for one: sessions that
	// begin may be refused as unavailable, if it hits a node those at that node.
	refuses bool
	// node is true if it hits a node: the sessions recover when its lease has ended.
	node bool
	// slack is how many times the bound its recovery may take. Default: 1.
	slack int
	// inject does it, and returns when it is over: when Redis can be reached again,
	// or the node is back. A violation is reported; another error ends the run.
	inject func(ctx context.Context, e *experiment) error
}

// Where is the kind of Redis that it is injected into, with a + if it has a part in
// the mixes on the other kinds, too.
func (f Fault) Where() string {
	if f.anywhere {
		return f.Backend + "+"
	}
	return f.Backend
}

// violation is an error of Boreas, as opposed to one of the experiment.
type violation string

func (v violation) Error() string { return string(v) }

// maxRecovery is how long sessions may stand still after the fault.
func (f Fault) maxRecovery() time.Duration {
	bound := MaxRecovery
	if f.node {
		bound = MaxNodeRecovery
	}
	if f.slack > 1 {
		bound *= time.Duration(f.slack)
	}
	return bound
}

// The backends.
const (
	Standalone = "standalone"
	Sentinel   = "sentinel"
	Cluster    = "cluster"
)

const (
	killed   = websocket.CloseAbnormalClosure // the connection broke
	restarts = websocket.CloseServiceRestart  // the gateway or the instance says goodbye
)

// experiment is what a fault has to work with.
type experiment struct {
	*system
	crowd *crowd
	rand  *rand.Rand    // of this injection
	hits  hits          // of this injection
	away  away          // since the last fault began
	stood time.Duration // the longest recovery within this injection
	slack int           // of Config
}

// within is a bound, for this machine.
func (e *experiment) within(bound time.Duration) time.Duration {
	return bound * time.Duration(max(e.slack, 1))
}

// recovering is for a fault that goes on when Redis can be reached again: the clients must
// move soon from now on, and again when it is over. The fault waits with what it returns.
func (e *experiment) recovering(ctx context.Context) (wait func()) {
	back := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		until(ctx, patience, func() bool { return e.crowd.moving(back) })
		e.stood = max(e.stood, time.Since(back))
	}()
	return func() { <-done }
}

// replaceGateway kills a gateway and starts another one in its place.
func (e *experiment) replaceGateway(ctx context.Context, i int) error {
	g := e.takeGateway(i)
	e.hits.gateway(g)
	if err := g.Kill(); err != nil {
		return err
	}
	return e.startGateway(ctx, i)
}

// between returns a random time.
func (e *experiment) between(least, most time.Duration) time.Duration {
	return least + time.Duration(e.rand.Int64N(int64(most-least)))
}

// redis is the standalone Redis.
func (e *experiment) redis() *standalone { return e.backend.(*standalone) }

// anyProxy is what is between one of the nodes and the standalone Redis.
func (e *experiment) anyProxy() *Proxy {
	processes := e.processes()
	return e.redis().proxy(processes[e.rand.IntN(len(processes))].Name)
}

// do sends all servers that take writes a command.
func (e *experiment) do(ctx context.Context, args ...any) error {
	primaries, err := e.backend.primaries(ctx)
	if err != nil {
		return err
	}
	for _, p := range primaries {
		if err := p.Client().Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
	}
	return nil
}

// configure changes a setting of all servers that live: a failover, even one that is
// still under way, does not undo it.
func (e *experiment) configure(ctx context.Context, name, value string) error {
	for _, s := range e.backend.servers() {
		if s.PID() == 0 {
			continue
		}
		if err := s.Client().ConfigSet(ctx, name, value).Err(); err != nil {
			return fmt.Errorf("%s %s: %w", name, value, err)
		}
	}
	return nil
}

// every repeats a command a few times.
func (e *experiment) every(ctx context.Context, interval time.Duration, times int, args ...any) error {
	for range times {
		if err := e.do(ctx, args...); err != nil {
			return err
		}
		if !pause(ctx, interval) {
			return ctx.Err()
		}
	}
	return nil
}

// Faults lists all faults.
func Faults() []Fault {
	return slices.Concat(redisFaults(), sentinelFaults(), clusterFaults(), nodeFaults(), networkFaults(), clientFaults(), trafficFaults())
}

func redisFaults() []Fault {
	restart := func(ctx context.Context, e *experiment) error {
		if err := e.redis().Kill(); err != nil {
			return err
		}
		pause(ctx, e.between(200*time.Millisecond, 1500*time.Millisecond))
		return e.redis().Restart()
	}
	return []Fault{
		{Number: 1, Name: "Redis kill -9 and restart, no persistence", Backend: Standalone, inject: restart},
		{Number: 2, Name: "Redis kill -9 and restart, AOF", Backend: Standalone, inject: restart,
			args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
		{Number: 3, Name: "Redis stopped 0.1-5 s", Backend: Standalone, refuses: true, inject: func(ctx context.Context, e *experiment) error {
			return freeze(ctx, e, e.between(100*time.Millisecond, 5*time.Second))
		}},
		{Number: 4, Name: "Redis stopped longer than the lease TTL", Backend: Standalone, refuses: true, inject: func(ctx context.Context, e *experiment) error {
			return freeze(ctx, e, 7*time.Second)
		}},
		{Number: 5, Name: "DEBUG SLEEP", Backend: Standalone, inject: func(ctx context.Context, e *experiment) error {
			return e.do(ctx, "DEBUG", "SLEEP", fmt.Sprintf("%.2f", e.between(500*time.Millisecond, 2*time.Second).Seconds()))
		}},
		{Number: 6, Name: "CLIENT KILL TYPE pubsub, 5/s", Backend: Standalone, anywhere: true, inject: func(ctx context.Context, e *experiment) error {
			return e.every(ctx, 200*time.Millisecond, 15, "CLIENT", "KILL", "TYPE", "pubsub")
		}},
		{Number: 7, Name: "CLIENT KILL TYPE normal, 5/s", Backend: Standalone, anywhere: true, inject: func(ctx context.Context, e *experiment) error {
			return e.every(ctx, 200*time.Millisecond, 15, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}},
		{Number: 8, Name: "tiny pub/sub output buffer", Backend: Standalone, anywhere: true, inject: func(ctx context.Context, e *experiment) error {
			if err := e.configure(ctx, "client-output-buffer-limit", "pubsub 4096 0 0"); err != nil {
				return err
			}
			pause(ctx, 3*time.Second)
			return e.configure(ctx, "client-output-buffer-limit", "pubsub 33554432 8388608 60")
		}},
		{Number: 9, Name: "CLIENT PAUSE WRITE and ALL", Backend: Standalone, inject: func(ctx context.Context, e *experiment) error {
			for _, mode := range []string{"WRITE", "ALL"} {
				if err := e.do(ctx, "CLIENT", "PAUSE", "1500", mode); err != nil {
					return err
				}
				pause(ctx, 2*time.Second)
			}
			return nil
		}},
		{Number: 10, Name: "FLUSHALL", Backend: Standalone, anywhere: true, inject: func(ctx context.Context, e *experiment) error {
			return e.do(ctx, "FLUSHALL")
		}},
		{Number: 11, Name: "SCRIPT FLUSH", Backend: Standalone, anywhere: true, inject: func(ctx context.Context, e *experiment) error {
			return e.every(ctx, 300*time.Millisecond, 5, "SCRIPT", "FLUSH")
		}},
		{Number: 12, Name: "maxmemory with noeviction", Backend: Standalone, anywhere: true, refuses: true, inject: outOfMemory},
	}
}

func freeze(ctx context.Context, e *experiment, d time.Duration) error {
	if err := e.redis().Stop(); err != nil {
		return err
	}
	pause(ctx, d)
	return e.redis().Cont()
}

func nodeFaults() []Fault {
	return []Fault{
		{Number: 20, Name: "gateway kill -9", Backend: Standalone, anywhere: true, codes: []int{killed}, node: true,
			inject: func(ctx context.Context, e *experiment) error {
				return e.replaceGateway(ctx, e.rand.IntN(len(e.gateways)))
			}},
		{Number: 21, Name: "gateway paused longer than its lease", Backend: Standalone, anywhere: true, codes: []int{killed, restarts}, node: true, refuses: true, // a search for an instance times out meanwhile
			inject: func(ctx context.Context, e *experiment) error {
				g := e.gateways[e.rand.IntN(len(e.gateways))]
				e.hits.gateway(g)
				if err := g.Pause(); err != nil {
					return err
				}
				pause(ctx, 8*time.Second)
				return g.Resume()
			}},
		{Number: 22, Name: "gateway SIGTERM", Backend: Standalone, anywhere: true, codes: []int{restarts}, node: true,
			inject: func(ctx context.Context, e *experiment) error {
				i := e.rand.IntN(len(e.gateways))
				g := e.takeGateway(i)
				e.hits.gateway(g)
				if err := g.Terminate(); err != nil {
					return err
				}
				if err := e.startGateway(ctx, i); err != nil {
					return err
				}
				return g.Wait(ctx)
			}},
		{Number: 23, Name: "instance kill -9 and restart", Backend: Standalone, anywhere: true, codes: []int{restarts}, node: true,
			inject: func(ctx context.Context, e *experiment) error {
				i := e.rand.IntN(len(e.instances))
				p := e.takeInstance(i)
				e.hits.instance(p)
				if err := e.killInstance(p); err != nil {
					return err
				}
				return e.startInstance(ctx, i)
			}},
	}
}

func networkFaults() []Fault {
	// bad makes the network between one node and Redis bad for a while.
	bad := func(w Weather, least, most time.Duration) func(context.Context, *experiment) error {
		return func(ctx context.Context, e *experiment) error {
			p := e.anyProxy()
			p.Set(w)
			pause(ctx, e.between(least, most))
			p.Set(Weather{})
			return nil
		}
	}
	return []Fault{
		{Number: 26, Name: "half-open TCP to Redis", Backend: Standalone,
			inject: func(_ context.Context, e *experiment) error {
				e.anyProxy().Strand(true, true)
				return nil
			}},
		{Number: 27, Name: "one direction of a node's Redis traffic dropped", Backend: Standalone,
			inject: func(_ context.Context, e *experiment) error {
				up := e.rand.IntN(2) == 0
				e.anyProxy().Strand(up, !up)
				return nil
			}},
		{Number: 28, Name: "200 ms delay, jitter, one byte at a time", Backend: Standalone,
			inject: func(ctx context.Context, e *experiment) error {
				if err := bad(Weather{Delay: 200 * time.Millisecond, Jitter: 100 * time.Millisecond}, 2*time.Second, 4*time.Second)(ctx, e); err != nil {
					return err
				}
				return bad(Weather{Trickle: true}, time.Second, 2*time.Second)(ctx, e)
			}},
	}
}
