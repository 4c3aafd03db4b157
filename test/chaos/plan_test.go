package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlans(t *testing.T) {
	all := len(Faults())
	cases := []struct {
		name    string
		cfg     Config
		plans   []string // backend, and "+" for further arguments
		alone   int
		mixes   []string // backends with a mix
		problem string
	}{
		{name: "all", cfg: Config{}, plans: []string{"standalone", "standalone+", "sentinel", "cluster"}, alone: all},
		{name: "all, mixed", cfg: Config{Mixed: time.Second}, plans: []string{"standalone", "standalone+", "sentinel", "cluster"},
			alone: all, mixes: []string{"standalone", "sentinel", "cluster"}},
		{name: "the mix", cfg: Config{Faults: []int{mixNumber}, Mixed: time.Second}, plans: []string{"standalone", "sentinel", "cluster"},
			mixes: []string{"standalone", "sentinel", "cluster"}},
		{name: "the mix, on a cluster", cfg: Config{Faults: []int{mixNumber}, Mixed: time.Second, Backends: []string{Cluster}},
			plans: []string{"cluster"}, mixes: []string{"cluster"}},
		{name: "one that is anywhere", cfg: Config{Faults: []int{10}, Mixed: time.Second}, plans: []string{"standalone", "sentinel", "cluster"},
			alone: 1, mixes: []string{"standalone", "sentinel", "cluster"}},
		{name: "one that is not", cfg: Config{Faults: []int{13}, Mixed: time.Second}, plans: []string{"sentinel"}, alone: 1, mixes: []string{"sentinel"}},
		{name: "no duration", cfg: Config{Faults: []int{mixNumber}}, problem: "duration"},
		{name: "unknown", cfg: Config{Faults: []int{99}}, problem: "99"},
		{name: "unknown kind", cfg: Config{Backends: []string{"sqlite"}}, problem: "sqlite"},
		{name: "nothing", cfg: Config{Faults: []int{13}, Backends: []string{Cluster}}, problem: "nothing to do"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			plans, err := tc.cfg.plans()
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("error %v; want one about %q", err, tc.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names, mixes []string
			alone := 0
			for _, p := range plans {
				names = append(names, p.backend+strings.Repeat("+", min(1, len(p.args))))
				alone += len(p.alone)
				if len(p.mix) > 0 {
					mixes = append(mixes, p.backend)
				}
				for _, f := range p.mix {
					if f.Backend != p.backend && !f.anywhere || f.args != nil {
						t.Errorf("fault %d is mixed on %s", f.Number, p.backend)
					}
				}
			}
			if !slices.Equal(names, tc.plans) || alone != tc.alone || !slices.Equal(mixes, tc.mixes) {
				t.Errorf("plans %v with %d faults and mixes on %v; want %v, %d, %v", names, alone, mixes, tc.plans, tc.alone, tc.mixes)
			}
		})
	}
}

// TestSeed: a seed repeats a mix and the choices of each injection, whatever came before;
// another one does not.
func TestSeed(t *testing.T) {
	list := func(seed uint64, backend string, disturbed bool) string {
		c := Config{Seed: seed, Mixed: time.Hour}
		next := c.random(plan{backend: backend, mix: Faults()})
		var b strings.Builder
		for round := range 50 {
			if disturbed {
				c.rand(mixNumber, backend, round-1).Uint64()
			}
			f, ok := next(round)
			if !ok {
				t.Fatal("the time is over")
			}
			fmt.Fprintln(&b, f.Number, c.rand(mixNumber, backend, round).Uint64())
		}
		return b.String()
	}
	first := list(1, Cluster, false)
	if list(1, Cluster, true) != first {
		t.Error("the same seed gives another run")
	}
	if list(2, Cluster, false) == first || list(1, Sentinel, false) == first {
		t.Error("another seed, or another kind of Redis, gives the same run")
	}
}
