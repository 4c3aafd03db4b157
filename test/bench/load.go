package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// target is a WebSocket server under test, with the processes whose CPU its
// round trips cost.
type target struct {
	name  string
	addr  string // host:port
	path  string // of the handshake
	procs []process
}

// process is one process of a target.
type process struct {
	name  string
	pid   int
	debug string // host:port of /debug/pprof; "" if it has none
}

// shape is how much load there is.
type shape struct{ conns, window int }

func (s shape) String() string { return fmt.Sprintf("%d x %d", s.conns, s.window) }

// sample is what one measurement saw.
type sample struct {
	rate     float64 // round trips per second
	p50, p99 time.Duration
	cpu      map[string]time.Duration // by process, for one round trip
}

// total is the CPU that one round trip cost all processes together.
func (s sample) total() time.Duration {
	var sum time.Duration
	for _, d := range s.cpu {
		sum += d
	}
	return sum
}

// measure runs load of one shape against t and returns what it saw between the
// end of the warm-up and the end of the run.
func measure(ctx context.Context, t *target, s shape, warmup, duration time.Duration) (sample, error) {
	clients := make([]*client, s.conns)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.close()
			}
		}
	}()
	for i := range clients {
		var err error
		if clients[i], err = dial(ctx, t); err != nil {
			return sample{}, err
		}
	}
	var now atomic.Int32
	var running sync.WaitGroup
	failed := make(chan error, len(clients))
	for _, c := range clients {
		running.Go(func() {
			if err := c.load(s.window, &now); err != nil {
				failed <- err
			}
		})
	}
	var m meter
	err := errors.Join(
		wait(ctx, warmup, failed),
		m.read(t, clients, &now, phaseMeasure),
		wait(ctx, duration, failed),
		m.read(t, clients, &now, phaseEnd),
	)
	now.Store(int32(phaseEnd))
	running.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s, %v: %w", t.name, s, err)
	}
	return m.sample(t, clients), nil
}

// wait waits for d, or for the first client that fails.
func wait(ctx context.Context, d time.Duration, failed chan error) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meter holds two readings: the beginning and the end of the measured time.
type meter struct {
	at   [2]time.Time
	done [2]int64
	cpu  [2][]time.Duration
	n    int
}

// read takes a reading and moves the clients to their next phase.
func (m *meter) read(t *target, clients []*client, now *atomic.Int32, next phase) error {
	m.at[m.n] = time.Now()
	for _, c := range clients {
		m.done[m.n] += c.done.Load()
	}
	for _, p := range t.procs {
		cpu, err := cpuTime(p.pid)
		if err != nil {
			return err
		}
		m.cpu[m.n] = append(m.cpu[m.n], cpu)
	}
	now.Store(int32(next))
	m.n++
	return nil
}

func (m *meter) sample(t *target, clients []*client) sample {
	done := m.done[1] - m.done[0]
	s := sample{
		rate: float64(done) / m.at[1].Sub(m.at[0]).Seconds(),
		cpu:  make(map[string]time.Duration),
	}
	for i, p := range t.procs {
		s.cpu[p.name] += (m.cpu[1][i] - m.cpu[0][i]) / time.Duration(max(done, 1))
	}
	var all []time.Duration
	for _, c := range clients {
		all = append(all, c.latencies...)
	}
	s.p50, s.p99 = percentiles(all)
	return s
}

// percentiles returns the median and the 99th percentile.
func percentiles(latencies []time.Duration) (p50, p99 time.Duration) {
	if len(latencies) == 0 {
		return 0, 0
	}
	slices.Sort(latencies)
	return latencies[len(latencies)/2], latencies[len(latencies)*99/100]
}

// median combines the samples of several rounds, number by number.
func median(rounds []sample) sample {
	pick := func(of func(sample) float64) float64 {
		values := make([]float64, len(rounds))
		for i, s := range rounds {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	m := sample{
		rate: pick(func(s sample) float64 { return s.rate }),
		p50:  time.Duration(pick(func(s sample) float64 { return float64(s.p50) })),
		p99:  time.Duration(pick(func(s sample) float64 { return float64(s.p99) })),
		cpu:  make(map[string]time.Duration),
	}
	for name := range rounds[0].cpu {
		m.cpu[name] = time.Duration(pick(func(s sample) float64 { return float64(s.cpu[name]) }))
	}
	return m
}
