package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/boreas-ws/boreas/test/chaos"
	"github.com/boreas-ws/boreas/test/cluster"
	"github.com/boreas-ws/boreas/test/probe"
)

// chaosCmd injects faults into a system of its own.
type chaosCmd struct {
	Seed     uint64        `help:"Determines the schedule: the same seed repeats a run. Default: the time." novar:"true"`
	Faults   []int         `placeholder:"N,..." help:"Numbers of the faults to inject. Default: all. Just 30: none but the mix of all." novar:"true"`
	Backends []string      `placeholder:"KIND,..." help:"Kinds of Redis to run on: standalone, sentinel, cluster. Default: all." novar:"true"`
	List     bool          `help:"List the faults instead." novar:"true"`
	Rounds   int           `default:"3" help:"How often each fault is injected." novar:"true"`
	Duration time.Duration `default:"0s" help:"Afterwards, how long to inject random ones of the faults, on each kind of Redis." novar:"true"`
	Sessions int           `default:"24" help:"How many clients there are." novar:"true"`
	Slack    int           `default:"1" help:"How many times its bound a recovery may take, and whatever else must come, for a machine that is busy." novar:"true"`
	Docs     string        `placeholder:"FILE" help:"Also write the table into this Markdown file, between its markers." novar:"true"`
}

var errChaos = errors.New("at least one oracle found a violation")

func (c *chaosCmd) Run(p *process) error {
	if c.List {
		for _, f := range chaos.Faults() {
			fmt.Fprintf(p.stdout, "%2d  %-11s  %s\n", f.Number, f.Where(), f.Name)
		}
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano())
	}
	cfg := chaos.Config{
		Programs: cluster.Programs{Boreas: self, Probe: []string{self, "chaos-instance"}},
		Seed:     c.Seed, Faults: c.Faults, Rounds: c.Rounds, Mixed: c.Duration, Backends: c.Backends,
		Sessions: c.Sessions, Slack: c.Slack, Logger: p.logger,
	}
	if err := cfg.Check(); err != nil {
		return usageError{fmt.Errorf("%w; boreas chaos --list shows all faults", err)}
	}
	fmt.Fprintln(p.stdout, "seed", c.Seed)
	report, err := chaos.Run(p.ctx, cfg)
	if report != nil { // also what there is of a run that failed
		err = errors.Join(err, report.WriteTable(p.stdout))
	}
	if err != nil {
		return err
	}
	if c.Docs != "" {
		if err := report.WriteDocs(c.Docs); err != nil {
			return err
		}
	}
	if !report.OK() {
		return errChaos
	}
	return nil
}

// chaosInstanceCmd is a service instance that the chaos command starts.
type chaosInstanceCmd struct {
	probe.Options `embed:""`
}

func (c *chaosInstanceCmd) Run(p *process) error {
	return probe.Run(p.ctx, c.Options, p.stdout, p.logger)
}
