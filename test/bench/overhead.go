package main

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Overhead is what metrics cost under one shape of load: CPU of gateway and service
// per round trip, divided by that of the same programs without instruments. Both
// are under load at the same time, so that whatever disturbs the machine disturbs
// both, and share a Redis, which is left out.
type Overhead struct {
	Connections int     `json:"connections"` // of each
	Window      int     `json:"window"`
	Pairs       int     `json:"pairs"`
	With        float64 `json:"cpu_us_with"` // medians of CPU per round trip
	Without     float64 `json:"cpu_us_without"`
	Ratio       float64 `json:"ratio"` // the median pair's
	Least       float64 `json:"least_ratio"`
	Most        float64 `json:"most_ratio"`
}

// meteredShapes are the loads under which metrics are weighed: those that keep the
// servers busy. At 1 x 1 they sleep, and waking up is what is measured.
var meteredShapes = []shape{{64, 1}, {64, 16}}

// overheads weighs metrics.
func overheads(ctx context.Context, s *stack, o options) ([]Overhead, error) {
	with := map[shape][]float64{}
	without := map[shape][]float64{}
	for n := range o.pairs {
		progressf("with and without metrics, pair %d of %d", n+1, o.pairs)
		// Processes of their own for each pair: some are luckier than others.
		ours, err := s.boreas(ctx, metered)
		if err != nil {
			return nil, err
		}
		bare, err := s.boreas(ctx, plain)
		if err != nil {
			return nil, err
		}
		for _, sh := range meteredShapes {
			pair, err := together(ctx, []*target{ours, bare}, sh, o)
			if err != nil {
				return nil, err
			}
			with[sh], without[sh] = append(with[sh], pair[0]), append(without[sh], pair[1])
		}
		s.stop()
	}
	var all []Overhead
	for _, sh := range meteredShapes {
		ratios := make([]float64, o.pairs)
		for i := range ratios {
			ratios[i] = with[sh][i] / without[sh][i]
		}
		all = append(all, Overhead{
			Connections: sh.conns, Window: sh.window, Pairs: o.pairs, With: middle(with[sh]), Without: middle(without[sh]),
			Ratio: middle(ratios), Least: slices.Min(ratios), Most: slices.Max(ratios),
		})
	}
	return all, nil
}

// together measures targets at the same time, and returns the CPU per round trip of
// each in microseconds, without Redis.
func together(ctx context.Context, targets []*target, sh shape, o options) ([]float64, error) {
	cpu := make([]float64, len(targets))
	errs := make([]error, len(targets))
	var running sync.WaitGroup
	for i, t := range targets {
		running.Go(func() {
			var m sample
			m, errs[i] = measure(ctx, t, sh, o.warmup, o.duration)
			cpu[i] = micros64(m.total() - m.cpu["redis"])
		})
	}
	running.Wait()
	return cpu, errors.Join(errs...)
}

// middle is the median.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
