package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is everything that one run measured.
type Report struct {
	Machine   Machine       `json:"machine"`
	Loads     []Load        `json:"loads"`
	Idle      []Footprint   `json:"idle"`
	Scrape    time.Duration `json:"scrape_ns"` // GET /metrics of a gateway with the idle sockets
	Fanouts   []Fanout      `json:"pushes,omitempty"`
	Overheads []Comparison  `json:"metrics"`
	Against   []Comparison  `json:"against,omitempty"` // this program, and the one at another revision
	Goals     []Goal        `json:"goals"`
	Micros    []Micro       `json:"benchmarks,omitempty"`
}

// Machine is where it ran.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Load is one target under one shape of load. CPU times and latencies are in
// microseconds.
type Load struct {
	Connections int                `json:"connections"`
	Window      int                `json:"window"`
	Target      string             `json:"target"`
	Rate        float64            `json:"round_trips_per_second"`
	P50         float64            `json:"p50_us"`
	P99         float64            `json:"p99_us"`
	CPU         map[string]float64 `json:"cpu_us_per_round_trip"`
	CPUTotal    float64            `json:"cpu_us_per_round_trip_total"`
}

// Goal compares a number with what it should be at most.
type Goal struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
}

// times says how many times b microseconds a is. In a run that is too short the clock may
// tell of no b at all: that counts as a nanosecond.
func times(a, b float64) float64 { return a / max(b, 0.001) }

func micros64(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func newLoad(s shape, target string, m sample) Load {
	l := Load{
		Connections: s.conns, Window: s.window, Target: target,
		Rate: m.rate, P50: micros64(m.p50), P99: micros64(m.p99),
		CPU: make(map[string]float64), CPUTotal: micros64(m.total()),
	}
	for name, d := range m.cpu {
		l.CPU[name] = micros64(d)
	}
	return l
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				m.CPU = strings.Trim(name, " \t\n:")
				break
			}
		}
	}
	return m
}

// find returns what was measured of a target under a shape.
func (r *Report) find(s shape, target string) (Load, bool) {
	i := slices.IndexFunc(r.Loads, func(l Load) bool {
		return l.Connections == s.conns && l.Window == s.window && l.Target == target
	})
	if i < 0 {
		return Load{}, false
	}
	return r.Loads[i], true
}

// judge fills in the goals from what was measured.
func (r *Report) judge() {
	goal := func(name string, value, limit float64) {
		r.Goals = append(r.Goals, Goal{Name: name, Value: value, Limit: limit, Met: value <= limit})
	}
	for _, g := range []struct {
		s     shape
		limit float64
	}{{shape{64, 1}, 4}, {shape{64, 16}, 3}} {
		ours, ok1 := r.find(g.s, nameBoreas)
		bare, ok2 := r.find(g.s, nameBare)
		if ok1 && ok2 {
			goal(fmt.Sprintf("server CPU per round trip, %v: times that of the bare echo", g.s), times(ours.CPUTotal, bare.CPUTotal), g.limit)
		}
	}
	single := shape{1, 1}
	ours, ok1 := r.find(single, nameBoreas)
	raw, ok2 := r.find(single, namePingPong)
	if ok1 && ok2 {
		goal("p50, 1 x 1: times that of the raw ping-pong", times(ours.P50, raw.P50), 1.5)
	}
	for _, m := range r.Overheads {
		goal(fmt.Sprintf("server CPU per round trip, %v: times that without metrics", shape{m.Connections, m.Window}), m.Ratio, 1.03)
	}
	if len(r.Fanouts) >= 2 {
		goal(fmt.Sprintf("server CPU per delivery of a push to %d sockets: times that of the bare writer", r.Fanouts[0].Sockets),
			times(r.Fanouts[1].CPUTotal, r.Fanouts[0].CPUTotal), 1.5)
	}
	if len(r.Idle) >= 3 {
		bare, loose, pinned := r.Idle[0], r.Idle[1], r.Idle[2]
		goal("KiB of a gateway per idle socket, not pinned: at most the bare echo's", loose.Bytes/1024, bare.Bytes/1024)
		goal("KiB of a gateway per idle socket, pinned: beyond not pinned", (pinned.Bytes-loose.Bytes)/1024, 3)
		goal("ms to scrape a gateway with the idle sockets", r.Scrape.Seconds()*1000, 50)
	}
}

func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *Report) writeText(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%s, %d cores, Linux %s, %s. %d bytes of JSON each way.\n\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, len(message))
	if len(r.Loads) > 0 {
		fmt.Fprintln(w, "connections x window\ttarget\tround trips/s\tp50 µs\tp99 µs\tCPU µs per round trip\ttimes bare echo\t")
	}
	for _, l := range r.Loads {
		s := shape{l.Connections, l.Window}
		timesBare := ""
		if bare, ok := r.find(s, nameBare); ok && l.Target != nameBare {
			timesBare = fmt.Sprintf("%.2f", times(l.CPUTotal, bare.CPUTotal))
		}
		fmt.Fprintf(w, "%v\t%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t\n", s, l.Target, l.Rate, l.P50, l.P99, l.cpu(), timesBare)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range []struct {
		one, other string
		rows       []Comparison
	}{{"with metrics", "without", r.Overheads}, {"now", "before", r.Against}} {
		if len(c.rows) == 0 {
			continue
		}
		fmt.Fprintln(out)
		fmt.Fprintf(w, "connections x window\tCPU µs %s\t%s\tmedian of the ratios\tleast\tmost\tpairs\t\n", c.one, c.other)
		for _, m := range c.rows {
			fmt.Fprintf(w, "%v\t%.2f\t%.2f\t%.3f\t%.3f\t%.3f\t%d\t\n", shape{m.Connections, m.Window}, m.One, m.Other, m.Ratio, m.Least, m.Most, m.Pairs)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(r.Fanouts) > 0 {
		fmt.Fprintln(out)
		fmt.Fprintln(w, "sockets\tpushes/s to each\ttarget\tdeliveries/s\tCPU µs per delivery\ttimes bare writer\t")
		for _, f := range r.Fanouts {
			l := Load{CPU: f.CPU, CPUTotal: f.CPUTotal}
			fmt.Fprintf(w, "%d\t%d\t%s\t%.0f\t%s\t%.2f\t\n", f.Sockets, f.Pace, f.Target, f.Rate, l.cpu(), times(f.CPUTotal, r.Fanouts[0].CPUTotal))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(r.Idle) > 0 {
		fmt.Fprintf(out, "\n%d idle sockets\n", r.Idle[0].Sockets)
		fmt.Fprintln(w, "\tprocess\tKiB per socket\tafter a garbage collection\t")
		for _, f := range r.Idle {
			fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t\n", f.Name, f.Process, f.Bytes/1024, f.AfterGC/1024)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(out, "\na scrape of the gateway with them: %.1f ms\n", r.Scrape.Seconds()*1000)
	}
	if len(r.Micros) > 0 {
		fmt.Fprintln(out)
		fmt.Fprintln(w, "package\tbenchmark\tns\tbytes\tallocations\t")
		for _, m := range r.Micros {
			fmt.Fprintf(w, "%s\t%s\t%.1f\t%d\t%d\t\n", m.Package, m.Name, m.Nanos, m.Bytes, m.Allocs)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	for _, g := range r.Goals {
		verdict := "met"
		if !g.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%.2f\tof at most %.2f\t%s\t\n", g.Name, g.Value, g.Limit, verdict)
	}
	return w.Flush()
}

// cpu lists the CPU of each process, and the sum.
func (l Load) cpu() string {
	names := make([]string, 0, len(l.CPU))
	for name := range l.CPU {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s %.1f + ", name, l.CPU[name])
	}
	if len(names) == 1 {
		return strings.TrimSuffix(b.String(), " + ")
	}
	return fmt.Sprintf("%s = %.1f", strings.TrimSuffix(b.String(), " + "), l.CPUTotal)
}
