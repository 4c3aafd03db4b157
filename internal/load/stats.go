package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of latencies that are told apart, to three digits.
const (
	minLatency = time.Microsecond
	maxLatency = time.Minute
	digits     = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(minLatency.Microseconds(), maxLatency.Microseconds(), digits)
}

// counts are what happened in some time.
type counts struct {
	sent, received   int64
	reordered, extra int64 // out of order; answers to nothing, or a second time
	errors           map[string]int64
	closes           map[int]int64
}

func newCounts() counts {
	return counts{errors: map[string]int64{}, closes: map[int]int64{}}
}

func (c *counts) add(o counts) {
	c.sent += o.sent
	c.received += o.received
	c.reordered += o.reordered
	c.extra += o.extra
	for k, n := range o.errors {
		c.errors[k] += n
	}
	for k, n := range o.closes {
		c.closes[k] += n
	}
}

// shard is the part of the statistics that some connections share.
type shard struct {
	mu        sync.Mutex
	counts    counts
	latencies *hdrhistogram.Histogram
}

// recorder collects what connections see. Connections are spread over its shards,
// so that they seldom meet.
type recorder struct {
	shards [16]shard
}

func newRecorder() *recorder {
	r := &recorder{}
	for i := range r.shards {
		r.shards[i].counts, r.shards[i].latencies = newCounts(), newHistogram()
	}
	return r
}

// of returns the shard of connection number i.
func (r *recorder) of(i int) *shard { return &r.shards[i%len(r.shards)] }

// take empties the recorder.
func (r *recorder) take() (counts, *hdrhistogram.Histogram) {
	all, latencies := newCounts(), newHistogram()
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		all.add(s.counts)
		latencies.Merge(s.latencies)
		s.counts = newCounts()
		s.latencies.Reset()
		s.mu.Unlock()
	}
	return all, latencies
}

// count changes the counts.
func (s *shard) count(change func(*counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.counts)
}

// answered counts an answer and its latency.
func (s *shard) answered(latency time.Duration) {
	us := min(max(latency, minLatency), maxLatency).Microseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.received++
	_ = s.latencies.RecordValue(us) // it is in range
}

// Latency is a summary of latencies, in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func summarize(h *hdrhistogram.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{Mean: h.Mean() / 1000, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}
