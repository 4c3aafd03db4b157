package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// handshakes is how many are under way at most.
const handshakes = 256

// runner is one run.
type runner struct {
	cfg     Config
	stats   *recorder
	start   time.Time
	pad     string
	buffers sync.Pool
	joined  chan struct{} // a token for each answer of PathJoin
	over    atomic.Bool   // connections end because the run does

	clients []*client // that could connect
	refused map[string]int64
}

// Run opens the connections, sends for the time that cfg gives, and reports. When
// ctx ends, the run is over earlier, with a report. An error says that nothing
// could be measured.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &runner{
		cfg: cfg, stats: newRecorder(), start: time.Now(), pad: strings.Repeat("x", max(cfg.Size, 0)),
		joined: make(chan struct{}, cfg.Connections), refused: map[string]int64{},
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r.measure(ctx), nil
}

// open connects all clients, at Config.Ramp.
func (r *runner) open(ctx context.Context) error {
	total := r.cfg.Connections + r.cfg.Idle
	var (
		group   sync.WaitGroup
		mu      sync.Mutex
		failure error
		tokens  = make(chan struct{}, handshakes)
		begin   = time.Now()
	)
	r.clients = make([]*client, 0, total)
	for i := range total {
		if r.cfg.Ramp > 0 && !sleepUntil(ctx, begin.Add(time.Duration(float64(i)/r.cfg.Ramp*float64(time.Second)))) {
			break
		}
		tokens <- struct{}{}
		group.Go(func() {
			defer func() { <-tokens }()
			c, err := r.connect(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
				r.refused[reason(err)]++
				return
			}
			r.clients = append(r.clients, c)
			go c.read()
		})
	}
	group.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(r.active()) == 0:
		return fmt.Errorf("no connection could be opened: %w", failure)
	}
	return r.join(ctx)
}

// reason shortens an error to what can be counted.
func reason(err error) string {
	if errors.Is(err, websocket.ErrBadHandshake) {
		_, status, _ := strings.Cut(err.Error(), ": ")
		return strings.TrimPrefix(status, "bad handshake: ")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return err.Error()[strings.LastIndex(err.Error(), ": ")+1:]
}

func (r *runner) active() []*client {
	var active []*client
	for _, c := range r.clients {
		if c.active {
			active = append(active, c)
		}
	}
	return active
}

// join makes the active clients members of the group, if that is measured.
func (r *runner) join(ctx context.Context) error {
	if !r.cfg.Publish {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout)
	defer cancel()
	active := r.active()
	for _, c := range active {
		if err := c.write(PathJoin, setupID, nil); err != nil {
			return fmt.Errorf("%s: %w", PathJoin, err)
		}
	}
	for i := range active {
		select {
		case <-r.joined:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d clients have joined the group: %w", i, len(active), ctx.Err())
		}
	}
	if failed, _ := r.stats.take(); len(failed.errors) > 0 {
		return fmt.Errorf("%s: %v", PathJoin, failed.errors)
	}
	return nil
}

// measure sends, and reports.
func (r *runner) measure(ctx context.Context) *Report {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var writers sync.WaitGroup
	active := r.active()
	begin := time.Now()
	if r.cfg.Publish {
		writers.Go(func() { active[0].publish(sending, begin) })
	} else {
		for i, c := range active {
			writers.Go(func() { c.request(sending, begin, i, len(active)) })
		}
	}
	if r.cfg.ReportLatency > 0 {
		for _, c := range active {
			writers.Go(func() { c.reportEvery(sending, r.cfg.ReportLatency) })
		}
	}

	if r.cfg.Warmup > 0 {
		sleepUntil(ctx, begin.Add(r.cfg.Warmup))
		r.stats.take()
	}
	report := newReport(r.cfg)
	r.watch(ctx, report)
	stop()
	writers.Wait()
	report.Lost = r.lost(ctx, active)
	tail, latencies := r.stats.take()
	report.finish(tail, latencies, r.refused, len(r.clients))
	return report
}

// watch adds a point to the report each second, until the measured time is over.
func (r *runner) watch(ctx context.Context, report *Report) {
	begin := time.Now()
	for second := 1; ; second++ {
		end := min(time.Duration(second)*time.Second, r.cfg.Duration)
		if !sleepUntil(ctx, begin.Add(end)) {
			break
		}
		counts, latencies := r.stats.take()
		r.cfg.Progress(report.add(time.Since(begin), counts, latencies))
		if end == r.cfg.Duration {
			break
		}
	}
	report.Seconds = time.Since(begin).Seconds()
}

// lost waits for answers that are missing, and counts what stays away.
func (r *runner) lost(ctx context.Context, active []*client) int64 {
	missing := func() (n int64) {
		for _, c := range active {
			if r.cfg.Publish {
				n += c.missed(active[0])
			} else {
				n += int64(c.unanswered())
			}
		}
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.LostAfter)
	defer cancel()
	for missing() > 0 && sleepUntil(ctx, time.Now().Add(10*time.Millisecond)) {
	}
	return missing()
}

// close ends all connections.
func (r *runner) close() {
	r.over.Store(true)
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	deadline := time.Now().Add(closeTimeout)
	for _, c := range r.clients {
		if c.ws.WriteControl(websocket.CloseMessage, bye, deadline) != nil {
			_ = c.ws.Close()
		}
	}
	for _, c := range r.clients {
		select {
		case <-c.done:
		case <-time.After(time.Until(deadline)):
		}
		_ = c.ws.Close()
		<-c.done
	}
}

// closeTimeout is how long gateways may take to answer the close frames.
const closeTimeout = 5 * time.Second

// sleepUntil reports whether the time came before the end of ctx.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
