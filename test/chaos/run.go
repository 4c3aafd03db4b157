package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/test/cluster"
)

// The sizes of a run.
const (
	gateways  = 2
	instances = 2

	// namespace is the default of backplane.Config.
	namespace = "boreas"
	service   = "probe"
)

// The bounds that the oracles check.
const (
	// MaxRecovery is how long sessions may stand still after Redis can be reached
	// again.
	MaxRecovery = 3 * time.Second
	// MaxNodeRecovery is the same after a node was lost: its lease must end first.
	MaxNodeRecovery = 10 * time.Second
	// MaxCountDelay is two lease TTLs.
	MaxCountDelay = 10 * time.Second
	// MaxResident is the most resident memory of a node, in bytes.
	MaxResident = 256 << 20
	// patience bounds every wait for something that must come; a recovery that takes
	// longer than its bound but less than this is reported with its time.
	patience = 45 * time.Second
)

// Config is what to run.
type Config struct {
	// Programs are the binaries to test.
	Programs cluster.Programs
	// Seed determines the schedule. Zero is a seed like any other.
	Seed uint64
	// Faults are the numbers of the faults to inject. Empty: all.
	Faults []int
	// Rounds is how often each fault is injected. Default: 3.
	Rounds int
	// Mixed is how long to inject random faults afterwards. Default: not at all.
	Mixed time.Duration
	// Sessions is how many clients there are. Default: 24.
	Sessions int
	// Logger gets the progress. Default: none.
	Logger *slog.Logger

	patience time.Duration // in place of the constant, for runs that must fail
}

func (c Config) withDefaults() Config {
	if c.Rounds == 0 {
		c.Rounds = 3
	}
	if c.Sessions == 0 {
		c.Sessions = 24
	}
	if c.patience == 0 {
		c.patience = patience
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// pick returns the chosen faults.
func (c Config) pick() ([]Fault, error) {
	all := Faults()
	if len(c.Faults) == 0 {
		return all, nil
	}
	var chosen []Fault
	for _, n := range c.Faults {
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Number == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %d", n)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Run injects the faults and reports what they did. An error means that the run
// itself failed; whether Boreas kept its word is in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	faults, err := cfg.pick()
	if err != nil {
		return nil, err
	}
	report := &Report{Seed: cfg.Seed}
	for len(faults) > 0 {
		// Faults that need the same Redis share a system.
		same := func(f Fault) bool { return f.Backend == faults[0].Backend && slices.Equal(f.args, faults[0].args) }
		var now, later []Fault
		for _, f := range faults {
			if same(f) {
				now = append(now, f)
			} else {
				later = append(later, f)
			}
		}
		if err := runGroup(ctx, cfg, now, report); err != nil {
			return report, err
		}
		faults = later
	}
	slices.SortFunc(report.Rows, func(a, b Row) int { return a.Fault.Number - b.Fault.Number })
	return report, nil
}

// runGroup runs faults that share a system.
func runGroup(ctx context.Context, cfg Config, faults []Fault, report *Report) (err error) {
	backend, err := startBackend(ctx, faults[0])
	if err != nil {
		return err
	}
	s, err := startSystem(ctx, cfg.Programs, backend, gateways, instances)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c := startCrowd(ctx, cfg.Sessions, s.urls)
	defer c.stop()
	r := &runner{
		cfg:        cfg,
		experiment: &experiment{system: s, crowd: c, rand: rand.New(rand.NewPCG(cfg.Seed, uint64(faults[0].Number)))},
	}
	if _, ok := r.recovered(ctx, time.Now()); !ok {
		return errors.New("the sessions did not start")
	}
	for _, f := range faults {
		row, err := r.run(ctx, f, func(int) Fault { return f })
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, row)
	}
	if cfg.Mixed > 0 && faults[0].Backend == Standalone && len(faults[0].args) == 0 {
		row, err := r.mixed(ctx, faults)
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, row)
	}
	return nil
}

func startBackend(ctx context.Context, f Fault) (backend, error) {
	switch f.Backend {
	case Sentinel:
		return startSentinel(ctx)
	case Cluster:
		return startCluster(ctx)
	default:
		return startStandalone(ctx, f.args...)
	}
}

// runner injects faults into one system.
type runner struct {
	*experiment
	cfg Config
}

// mixed injects random ones of the faults for Config.Mixed.
func (r *runner) mixed(ctx context.Context, faults []Fault) (Row, error) {
	f := Fault{Number: 30, Name: "all of it, at random", Backend: Standalone, codes: []int{killed, restarts}, node: true}
	end := time.Now().Add(r.cfg.Mixed)
	return r.run(ctx, f, func(int) Fault {
		if time.Now().After(end) {
			return Fault{}
		}
		return faults[r.rand.IntN(len(faults))]
	})
}

// run injects what next returns, Config.Rounds times or until that is nothing, then
// waits for calm and asks the oracles.
func (r *runner) run(ctx context.Context, f Fault, next func(round int) Fault) (Row, error) {
	row := Row{Fault: f}
	log := r.cfg.Logger.With("fault", f.Number, "name", f.Name)
	for round := 0; f.inject == nil || round < r.cfg.Rounds; round++ {
		g := next(round)
		if g.inject == nil {
			break
		}
		log.Info("injecting", "round", round+1, "what", g.Name)
		if err := g.inject(ctx, r.experiment); err != nil {
			return row, fmt.Errorf("fault %d (%s): %w", g.Number, g.Name, err)
		}
		row.Injected++
		took, ok := r.recovered(ctx, time.Now())
		if !ok {
			row.Problems = append(row.Problems, fmt.Sprintf("round %d: not all sessions moved again within %v", round+1, r.cfg.patience))
		}
		row.Recoveries = append(row.Recoveries, took)
		pause(ctx, r.between(200*time.Millisecond, 800*time.Millisecond)) // some calm traffic
	}
	r.ask(ctx, &row)
	log.Info("done", "verdict", row.Verdict())
	if !row.OK() {
		r.showLogs(log)
	}
	return row, ctx.Err()
}

// showLogs repeats what the nodes logged, to find out what went wrong.
func (r *runner) showLogs(log *slog.Logger) {
	for _, p := range r.processes() {
		for line := range strings.Lines(p.Log()) {
			log.Info(strings.TrimSpace(line), "node", p.Name)
		}
	}
}

// recovered waits until all clients have a session that moved after t.
func (r *runner) recovered(ctx context.Context, t time.Time) (took time.Duration, ok bool) {
	ok = until(ctx, r.cfg.patience, func() bool { return r.crowd.moving(r.cfg.Sessions, t) })
	return time.Since(t), ok
}

// until polls done until it is true; it reports false when that takes too long.
func until(ctx context.Context, within time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !done() {
		if !pause(ctx, 10*time.Millisecond) {
			return done()
		}
	}
	return true
}

// ask lets everything settle and fills in what the oracles say.
func (r *runner) ask(ctx context.Context, row *Row) {
	r.crowd.pause(true)
	defer r.crowd.pause(false)
	settled := func() bool {
		return !slices.ContainsFunc(r.crowd.sessions(), func(s *session) bool { return !s.settled() })
	}
	until(ctx, r.cfg.patience, settled)
	for _, s := range slices.Concat(r.crowd.sessions(), r.crowd.harvest()) {
		row.judge(s.verdict())
	}
	for _, v := range r.violations() {
		row.Lost++
		row.Problems = append(row.Problems, v)
	}
	r.askRegistry(ctx, row)
	row.Resident = r.peakMemory()
	if row.Resident > MaxResident {
		row.Problems = append(row.Problems, fmt.Sprintf("a node took %d MiB of memory", row.Resident>>20))
	}
}

// askRegistry checks the counts.
func (r *runner) askRegistry(ctx context.Context, row *Row) {
	var wrong []string
	ok := until(ctx, MaxCountDelay, func() bool {
		wrong = r.registryProblems(ctx)
		return len(wrong) == 0
	})
	if !ok {
		row.Problems = append(row.Problems, "registry: "+strings.Join(wrong, "; "))
	}
}

func (r *runner) registryProblems(ctx context.Context) (wrong []string) {
	client := r.backend.client()
	violations, err := registry.Check(ctx, client, namespace)
	if err != nil {
		return []string{err.Error()}
	}
	for _, v := range violations {
		wrong = append(wrong, v.String())
	}
	names, err := client.HKeys(ctx, "bo:"+namespace+":{"+service+".0}:i").Result()
	if err != nil {
		return append(wrong, err.Error())
	}
	if living := r.instanceNames(); !slices.Equal(nodesOf(names), living) {
		wrong = append(wrong, fmt.Sprintf("Redis lists the instances %v; %v live", names, living))
	}
	pins, err := pinCount(ctx, client)
	if err != nil {
		return append(wrong, err.Error())
	}
	// A session is pinned with its first message.
	if open := len(r.crowd.sessions()); pins != open {
		wrong = append(wrong, fmt.Sprintf("%d pins for %d sessions", pins, open))
	}
	return wrong
}

// nodesOf returns the sorted nodes of names "<node>#<epoch>".
func nodesOf(names []string) []string {
	nodes := make([]string, len(names))
	for i, name := range names {
		nodes[i], _, _ = strings.Cut(name, "#")
	}
	slices.Sort(nodes)
	return nodes
}

// pinCount adds the connection counts of all instances.
func pinCount(ctx context.Context, client redis.UniversalClient) (int, error) {
	counts, err := client.ZRangeWithScores(ctx, "bo:"+namespace+":{"+service+".0}:c", 0, -1).Result()
	if err != nil {
		return 0, err
	}
	total := 0
	for _, c := range counts {
		total += int(c.Score)
	}
	return total, nil
}
