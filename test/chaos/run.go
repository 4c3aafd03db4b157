package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
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

// serviceKey names a key of the service in Redis.
func serviceKey(name string) string { return "bo:" + namespace + ":{" + service + ".0}:" + name }

// channelOf names the channel of a node.
func channelOf(node string) string { return "bo:" + namespace + ":ch:{" + node + "}" }

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
	// MaxRedisResident is the most resident memory of a redis-server, in bytes: for what it
	// keeps, and 32 MiB, which is client-output-buffer-limit, for each of three subscribed
	// connections that nobody reads any more but that it has not given up.
	MaxRedisResident = 128 << 20
	// patience bounds every wait for something that must come; a recovery that takes
	// longer than its bound but less than this is reported with its time.
	patience = 45 * time.Second
)

// Config is what to run.
type Config struct {
	// Programs are the binaries to test.
	Programs cluster.Programs
	// Seed determines which faults a mix injects, in which order, and the random choices
	// of each injection, whatever else a run injects; not how long anything takes, nor
	// what the clients do. Zero is a seed like any other.
	Seed uint64
	// Faults are the numbers of the faults to inject. Empty: all. If it is only the
	// number of the mix, all faults are mixed and none is injected alone.
	Faults []int
	// Rounds is how often each fault is injected. Default: 3.
	Rounds int
	// Mixed is how long to inject random faults afterwards, on each kind of Redis.
	// Default: not at all.
	Mixed time.Duration
	// Backends are the kinds of Redis to run on. Empty: all.
	Backends []string
	// Sessions is how many clients there are. Default: 24.
	Sessions int
	// Slack is how many times its bound whatever must come may take, such as a recovery, for
	// a machine that is busy.
	// Default: 1.
	Slack int
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

// Run injects the faults and reports what they did. An error means that the run
// itself failed; whether Boreas kept its word is in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	plans, err := cfg.plans()
	if err != nil {
		return nil, err
	}
	report := &Report{Seed: cfg.Seed}
	for _, p := range plans {
		if err := p.run(ctx, cfg, report); err != nil {
			return report, err
		}
	}
	slices.SortStableFunc(report.Rows, func(a, b Row) int { return a.Fault.Number - b.Fault.Number })
	return report, nil
}

// run carries out a plan, with a system of its own.
func (p plan) run(ctx context.Context, cfg Config, report *Report) (err error) {
	backend, err := startBackend(ctx, p)
	if err != nil {
		return err
	}
	s, err := startSystem(ctx, cfg.Programs, backend, gateways, instances)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c := startCrowd(ctx, cfg.Sessions, s.serving)
	defer c.stop()
	r := &runner{cfg: cfg, experiment: &experiment{system: s, crowd: c, slack: cfg.Slack}}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { r.away.watch(watching, backend) })
	watch.Go(func() { s.weigh(watching, &r.weight) })
	defer watch.Wait()
	defer stop()
	if _, ok := r.recovered(ctx, time.Now()); !ok {
		return errors.New("the sessions did not start")
	}
	for _, f := range p.alone {
		row, err := r.run(ctx, f, r.rounds(f))
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, row)
	}
	if len(p.mix) > 0 {
		row, err := r.run(ctx, p.mixed(), cfg.random(p))
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, row)
	}
	return nil
}

func startBackend(ctx context.Context, p plan) (backend, error) {
	switch p.backend {
	case Sentinel:
		return startSentinel(ctx)
	case Cluster:
		return startCluster(ctx)
	default:
		return startStandalone(ctx, p.args...)
	}
}

// runner injects faults into one system.
type runner struct {
	*experiment
	cfg    Config
	weight weight // of the row
}

// run injects what next returns until it returns false, then waits for calm and asks
// the oracles. The row is that of f.
func (r *runner) run(ctx context.Context, f Fault, next func(round int) (Fault, bool)) (Row, error) {
	row := Row{Fault: f}
	r.weight.nodes.reset(r.nodePIDs())
	r.weight.servers.reset(r.serverPIDs())
	log := r.cfg.Logger.With("fault", f.Number, "redis", f.Backend)
	var before, now cause // a session may still end because of the fault before
	for round := 0; ; round++ {
		g, ok := next(round)
		if !ok {
			break
		}
		before = now
		r.rand = r.cfg.rand(f.Number, f.Backend, round)
		log.Info("injecting", "round", round+1, "what", g.Name)
		r.away.reset()
		r.hits, r.stood = hits{}, 0
		if err := r.inject(ctx, &row, g); err != nil {
			return row, err
		}
		now = cause{Fault: g, hits: r.hits, away: r.away.most()}
		if now.away > gateway.DefaultPinTimeout {
			log.Info("Redis was long without a master", "away", now.away)
		}
		r.judgeEnded(&row, before, now)
	}
	r.ask(ctx, &row, before, now)
	log.Info("done", "verdict", row.Verdict())
	if !row.OK() {
		r.showLogs(log)
	}
	return row, ctx.Err()
}

// inject injects a fault and waits until all clients move again.
func (r *runner) inject(ctx context.Context, row *Row, f Fault) error {
	err := f.inject(ctx, r.experiment)
	if v := violation(""); errors.As(err, &v) {
		row.Problems = append(row.Problems, fmt.Sprintf("%s: %s", f.Name, v))
	} else if err != nil {
		return fmt.Errorf("fault %d (%s) on %s: %w", f.Number, f.Name, row.Fault.Backend, err)
	}
	row.Injected++
	took, ok := r.recovered(ctx, time.Now())
	f.slack = r.cfg.Slack
	row.recovered(f, max(took, r.stood))
	if !ok {
		row.Problems = append(row.Problems, fmt.Sprintf("after %q not all sessions moved again within %v", f.Name, r.cfg.patience))
	}
	pause(ctx, r.between(200*time.Millisecond, 800*time.Millisecond)) // some calm traffic
	return nil
}

// judgeEnded judges the sessions that ended since it was called last.
func (r *runner) judgeEnded(row *Row, causes ...cause) {
	for _, s := range r.crowd.harvest() {
		row.judge(s.verdict(), causes...)
	}
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
	ok = until(ctx, r.cfg.patience, func() bool { return r.crowd.moving(t) })
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
func (r *runner) ask(ctx context.Context, row *Row, causes ...cause) {
	r.crowd.pause(true)
	defer r.crowd.pause(false)
	settled := func() bool {
		return !slices.ContainsFunc(r.crowd.sessions(), func(s *session) bool { return !s.settled() })
	}
	until(ctx, r.cfg.patience, settled)
	for _, s := range r.crowd.sessions() {
		row.judge(s.verdict())
	}
	r.judgeEnded(row, causes...)
	r.askPushers(ctx, row)
	row.hear(r.violations())
	r.askRegistry(ctx, row)
	row.took(r.weight.nodes.most(), r.weight.servers.most())
}
