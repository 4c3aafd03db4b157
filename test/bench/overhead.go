package main

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Comparison weighs one build of gateway and service against another under one shape of
// load: the CPU per round trip of the one divided by that of the other. Both are under
// load at the same time, so that whatever disturbs the machine disturbs both, and share a
// Redis, which is left out.
type Comparison struct {
	Connections int     `json:"connections"` // of each
	Window      int     `json:"window"`
	Pairs       int     `json:"pairs"`
	One         float64 `json:"cpu_us_one"` // medians of CPU per round trip
	Other       float64 `json:"cpu_us_other"`
	Ratio       float64 `json:"ratio"` // the median pair's
	Least       float64 `json:"least_ratio"`
	Most        float64 `json:"most_ratio"`
}

// meteredShapes are the loads under which metrics are weighed: those that keep the
// servers busy. At 1 x 1 they sleep, and waking up is what is measured.
var meteredShapes = []shape{{64, 1}, {64, 16}}

// overheads weighs metrics.
func overheads(ctx context.Context, s *stack, o options) ([]Comparison, error) {
	return compare(ctx, s, o, "with and without metrics", meteredShapes,
		func() (*target, error) { return s.boreas(ctx, metered) },
		func() (*target, error) { return s.boreas(ctx, plain) })
}

// compare weighs what one starts against what other starts.
func compare(ctx context.Context, s *stack, o options, what string, shapes []shape, one, other func() (*target, error)) ([]Comparison, error) {
	cpu := map[shape][2][]float64{}
	for n := range o.pairs {
		progressf("%s, pair %d of %d", what, n+1, o.pairs)
		// Processes of their own for each pair: some are luckier than others.
		ours, err := one()
		if err != nil {
			return nil, err
		}
		theirs, err := other()
		if err != nil {
			return nil, err
		}
		for _, sh := range shapes {
			pair, err := together(ctx, []*target{ours, theirs}, sh, o)
			if err != nil {
				return nil, err
			}
			cpu[sh] = [2][]float64{append(cpu[sh][0], pair[0]), append(cpu[sh][1], pair[1])}
		}
		s.stop()
	}
	var all []Comparison
	for _, sh := range shapes {
		ones, others := cpu[sh][0], cpu[sh][1]
		ratios := make([]float64, o.pairs)
		for i := range ratios {
			ratios[i] = times(ones[i], others[i])
		}
		all = append(all, Comparison{
			Connections: sh.conns, Window: sh.window, Pairs: o.pairs, One: middle(ones), Other: middle(others),
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
