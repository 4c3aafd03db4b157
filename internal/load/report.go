package load

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of a run.
type Report struct {
	// What was asked for.
	Targets     []string `json:"targets"`
	Path        string   `json:"path"`
	Publish     bool     `json:"publish"`
	Connections int      `json:"connections"` // active
	Idle        int      `json:"idle"`
	Window      int      `json:"window"`
	Rate        float64  `json:"rate"` // messages/s; 0 for as many as the window allows
	Size        int      `json:"size"` // bytes of padding

	// What was seen.
	Opened    int              `json:"opened"`  // connections
	Refused   map[string]int64 `json:"refused"` // connections that could not be opened, by reason
	Closed    map[int]int64    `json:"closed"`  // connections that ended early, by close code
	Seconds   float64          `json:"seconds"` // measured time
	Sent      int64            `json:"sent"`
	Received  int64            `json:"received"`  // answers, or messages of the group
	Errors    map[string]int64 `json:"errors"`    // error messages, by code
	Lost      int64            `json:"lost"`      // sent and never answered; publishing: never delivered
	Reordered int64            `json:"reordered"` // came after a later one
	Extra     int64            `json:"extra"`     // answers to nothing, or a second time
	PerSecond float64          `json:"per_second"`
	Latency   Latency          `json:"latency_ms"`
	Points    []Point          `json:"points"`

	counts    counts
	latencies *hdrhistogram.Histogram
}

// Point is what happened in about a second.
type Point struct {
	At       float64 `json:"at"` // seconds since the measured time began; its end
	Sent     int64   `json:"sent"`
	Received int64   `json:"received"`
	Errors   int64   `json:"errors"`
	Latency  Latency `json:"latency_ms"`
}

func newReport(c Config) *Report {
	return &Report{
		Targets: c.Targets, Path: c.Path, Publish: c.Publish, Connections: c.Connections, Idle: c.Idle,
		Window: c.Window, Rate: c.Rate, Size: max(c.Size, 0),
		counts: newCounts(), latencies: newHistogram(),
	}
}

// add notes a second, and returns it as a point.
func (r *Report) add(at time.Duration, c counts, latencies *hdrhistogram.Histogram) Point {
	r.counts.add(c)
	r.latencies.Merge(latencies)
	p := Point{At: at.Seconds(), Sent: c.sent, Received: c.received, Latency: summarize(latencies)}
	for _, n := range c.errors {
		p.Errors += n
	}
	r.Points = append(r.Points, p)
	return p
}

// finish adds what came after the measured time, and fills in the sums.
func (r *Report) finish(c counts, latencies *hdrhistogram.Histogram, refused map[string]int64, opened int) {
	measured := r.counts.received
	r.counts.add(c)
	r.latencies.Merge(latencies)
	r.Opened, r.Refused, r.Closed, r.Errors = opened, refused, r.counts.closes, r.counts.errors
	r.Sent, r.Received, r.Reordered, r.Extra = r.counts.sent, r.counts.received, r.counts.reordered, r.counts.extra
	r.Latency = summarize(r.latencies)
	if r.Seconds > 0 {
		r.PerSecond = float64(measured) / r.Seconds
	}
}

// OK reports whether everything that was sent was answered, once and in order,
// without an error, and no connection was refused or lost.
func (r *Report) OK() bool {
	return r.Lost+r.Reordered+r.Extra == 0 && len(r.Errors)+len(r.Closed)+len(r.Refused) == 0
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	received := "answered"
	if r.Publish {
		received = "delivered"
	}
	_, err := fmt.Fprintf(w, `connections  %d opened (%d active, %d idle asked for)
messages     %d sent, %d %s in %.1f s: %.0f/s
latency ms   p50 %.2f   p90 %.2f   p99 %.2f   p99.9 %.2f   max %.2f   mean %.2f
lost %d   out of order %d   unexpected %d
`, r.Opened, r.Connections, r.Idle, r.Sent, r.Received, received, r.Seconds, r.PerSecond,
		r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max, r.Latency.Mean,
		r.Lost, r.Reordered, r.Extra)
	if err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "refused      %d connections: %s\n", r.Refused[reason], reason)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "errors       %d messages: %s\n", r.Errors[code], code)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Closed)) {
		fmt.Fprintf(w, "closed       %d connections: %d\n", r.Closed[code], code)
	}
	return nil
}

// WriteJSON writes the report with all its points.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes a line for each point.
func (r *Report) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"seconds", "sent", "received", "errors", "p50_ms", "p90_ms", "p99_ms", "max_ms"}) // Error tells
	for _, p := range r.Points {
		row := []string{
			strconv.FormatFloat(p.At, 'f', 3, 64), strconv.FormatInt(p.Sent, 10),
			strconv.FormatInt(p.Received, 10), strconv.FormatInt(p.Errors, 10),
		}
		for _, ms := range []float64{p.Latency.P50, p.Latency.P90, p.Latency.P99, p.Latency.Max} {
			row = append(row, strconv.FormatFloat(ms, 'f', 3, 64))
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}
