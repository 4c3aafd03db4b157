package chaos

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// mixNumber is the number of the mix of all faults.
const mixNumber = 30

// plan is what one system is started for: the faults that are injected one after the
// other, and those that are injected at random afterwards.
type plan struct {
	backend    string
	args       []string // of redis-server
	alone, mix []Fault
}

// Check says what is wrong with the choice of faults and kinds of Redis.
func (c Config) Check() error {
	_, err := c.plans()
	return err
}

// plans sorts the chosen faults by the Redis that they need.
func (c Config) plans() ([]plan, error) {
	alone, mix, err := c.pick()
	if err != nil {
		return nil, err
	}
	var plans []plan
	of := func(backend string, args []string) *plan {
		i := slices.IndexFunc(plans, func(p plan) bool { return p.backend == backend && slices.Equal(p.args, args) })
		if i < 0 {
			i, plans = len(plans), append(plans, plan{backend: backend, args: args})
		}
		return &plans[i]
	}
	for _, backend := range []string{Standalone, Sentinel, Cluster} {
		if len(c.Backends) > 0 && !slices.Contains(c.Backends, backend) {
			continue
		}
		for _, f := range alone {
			if f.Backend == backend {
				p := of(backend, f.args)
				p.alone = append(p.alone, f)
			}
		}
		for _, f := range mix {
			if c.Mixed > 0 && f.args == nil && (f.anywhere || f.Backend == backend) {
				p := of(backend, nil)
				p.mix = append(p.mix, f)
			}
		}
	}
	if len(plans) == 0 {
		return nil, errors.New("nothing to do: none of the faults is for these kinds of Redis")
	}
	return plans, nil
}

// pick returns the faults to inject alone and those to mix.
func (c Config) pick() (alone, mix []Fault, err error) {
	for _, backend := range c.Backends {
		if backend != Standalone && backend != Sentinel && backend != Cluster {
			return nil, nil, fmt.Errorf("there is no kind of Redis %q; there are %s, %s and %s", backend, Standalone, Sentinel, Cluster)
		}
	}
	all := Faults()
	if len(c.Faults) == 0 {
		return all, all, nil
	}
	for _, n := range c.Faults {
		if n == mixNumber {
			continue
		}
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Number == n })
		if i < 0 {
			return nil, nil, fmt.Errorf("there is no fault %d", n)
		}
		alone = append(alone, all[i])
	}
	if len(alone) > 0 {
		return alone, alone, nil
	}
	if c.Mixed <= 0 {
		return nil, nil, fmt.Errorf("fault %d, the mix of all, needs a duration", mixNumber)
	}
	return nil, all, nil
}

// mixed is the row of a mix. What it allows, each fault allows for itself.
func (p plan) mixed() Fault {
	return Fault{Number: mixNumber, Name: "all of it, at random", Backend: p.backend}
}

// random returns a function that chooses faults of the mix until the time is over.
func (c Config) random(p plan) func(int) (Fault, bool) {
	end := time.Now().Add(c.Mixed)
	return func(round int) (Fault, bool) {
		return p.mix[c.rand("mix", p.backend, round).IntN(len(p.mix))], time.Now().Before(end)
	}
}

// rand returns the random numbers of one step: what came before, and how long it took,
// does not change them.
func (c Config) rand(step ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, step...)
	return rand.New(rand.NewPCG(c.Seed, h.Sum64()))
}

// rounds returns a function that chooses f Config.Rounds times.
func (r *runner) rounds(f Fault) func(int) (Fault, bool) {
	return func(round int) (Fault, bool) { return f, round < r.cfg.Rounds }
}
