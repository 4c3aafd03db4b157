package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options say how long to measure, and what.
type options struct {
	duration, warmup time.Duration // of one measurement
	rounds           int           // of each shape; the table has the medians
	pairs            int           // of measurements with and without metrics; 0 leaves them out
	sockets          int           // idle ones; 0 leaves them out
	settle           time.Duration // between two readings of their memory
	micro            time.Duration // for each Go benchmark; 0 leaves them out
	skipLoads        bool          // leave round trips out
	fanout           fanoutShape   // no sockets: leave pushes out
	profile          string        // directory for CPU profiles; "" for none
	against          string        // revision to compare with, in place of all else; "" for none
}

// The names of the targets in the report.
const (
	nameBare     = "bare gorilla echo"
	nameBoreas   = "boreas"
	namePlain    = "boreas, no metrics"
	namePingPong = "raw ping-pong"
)

var shapes = []shape{{1, 1}, {64, 1}, {64, 16}}

func main() {
	played, err := playRole(os.Args[1:])
	if !played {
		err = bench()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func bench() error {
	o := options{settle: time.Second}
	asJSON := flag.Bool("json", false, "print JSON in place of tables")
	flag.DurationVar(&o.duration, "duration", 4*time.Second, "`time` of one measurement")
	flag.DurationVar(&o.warmup, "warmup", time.Second, "`time` before it that does not count")
	flag.IntVar(&o.rounds, "rounds", 3, "measurements of each kind, the median counts; 0 for none")
	flag.IntVar(&o.pairs, "pairs", 5, "measurements with and without metrics, or of two revisions; 0 for none")
	flag.IntVar(&o.sockets, "sockets", 10_000, "idle sockets; 0 for none")
	flag.DurationVar(&o.micro, "micro", 200*time.Millisecond, "`time` for each Go benchmark; 0 for none")
	flag.IntVar(&o.fanout.sockets, "receivers", 1000, "sockets that are pushed to; 0 for none")
	flag.IntVar(&o.fanout.rate, "push-rate", 100, "messages a second that are pushed to each; Boreas is also measured at ten times as many")
	only := flag.Bool("pushes", false, "measure pushes only")
	flag.StringVar(&o.profile, "profile", "", "`directory` for CPU profiles of gateway and service under load")
	flag.StringVar(&o.against, "against", "", "compare with the program at a `revision` of git, and measure nothing else")
	flag.Parse()
	if *only {
		o.skipLoads, o.pairs, o.sockets, o.micro = true, 0, 0, 0
	}
	if o.against != "" && o.pairs < 1 {
		return errors.New("-against needs -pairs")
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return r.writeJSON(os.Stdout)
	}
	return r.writeText(os.Stdout)
}

// run measures everything.
func run(ctx context.Context, o options) (_ *Report, err error) {
	s, err := newStack(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r := &Report{Machine: thisMachine()}
	if o.against != "" {
		r.Against, err = against(ctx, s, o)
		return r, err
	}
	if o.rounds > 0 && !o.skipLoads {
		if r.Loads, err = loads(ctx, s, o); err != nil {
			return nil, err
		}
	}
	s.stop()
	if o.pairs > 0 {
		if r.Overheads, err = overheads(ctx, s, o); err != nil {
			return nil, err
		}
		s.stop()
	}
	if o.fanout.sockets > 0 && o.rounds > 0 {
		if r.Fanouts, err = fanouts(ctx, s, o); err != nil {
			return nil, err
		}
		s.stop()
	}
	if o.sockets > 0 {
		progressf("%d idle sockets", o.sockets)
		if r.Idle, r.Scrape, err = idle(ctx, s, o.sockets, o.settle); err != nil {
			return nil, err
		}
	}
	if o.micro > 0 {
		progressf("Go benchmarks")
		if r.Micros, err = micros(ctx, o.micro); err != nil {
			return nil, err
		}
	}
	r.judge()
	return r, nil
}

// loads measures every shape against every target. The targets take turns, so that
// a disturbance of the machine does not hit one of them alone.
func loads(ctx context.Context, s *stack, o options) ([]Load, error) {
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, err
	}
	boreas, err := s.boreas(ctx, metered)
	if err != nil {
		return nil, err
	}
	pong, err := s.pong(ctx)
	if err != nil {
		return nil, err
	}
	var all []Load
	for _, sh := range shapes {
		samples := make(map[string][]sample)
		for round := range o.rounds {
			progressf("%v, round %d of %d", sh, round+1, o.rounds)
			m, err := pingPong(ctx, s.redis.TCPURL(), pong, sh.conns*sh.window, o.warmup, o.duration)
			if err != nil {
				return nil, err
			}
			samples[namePingPong] = append(samples[namePingPong], m)
			for _, t := range []*target{bare, boreas} {
				if m, err = measure(ctx, t, sh, o.warmup, o.duration); err != nil {
					return nil, err
				}
				samples[t.name] = append(samples[t.name], m)
			}
		}
		if o.profile != "" {
			for _, t := range []*target{bare, boreas} {
				if err := profiled(ctx, t, sh, o); err != nil {
					return nil, err
				}
			}
		}
		for _, name := range []string{namePingPong, nameBare, nameBoreas} {
			all = append(all, newLoad(sh, name, median(samples[name])))
		}
	}
	return all, nil
}

// profiled runs a load once more, for its profiles: what is measured meanwhile does
// not count.
func profiled(ctx context.Context, t *target, sh shape, o options) error {
	progressf("%v, profiles of %s", sh, t.name)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- profile(ctx, o.profile, t, sh, o.duration) }()
	if _, err := measure(ctx, t, sh, 0, o.duration+o.warmup); err != nil {
		return err
	}
	return <-done
}

// progressf tells a person who waits what goes on.
func progressf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
