package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Handler answers with all instruments in the formats of Prometheus: text, with
// classic histograms, and for those who ask for protobuf native ones as well. The
// usual instruments of the Go runtime and the process (go_*, process_*) are added.
func (m *Metrics) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.Collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// Collector offers the instruments to a registry of your own.
func (m *Metrics) Collector() prometheus.Collector { return &collector{m: m, descs: describe()} }

type collector struct {
	m     *Metrics
	descs map[*Instrument]*prometheus.Desc
}

func describe() map[*Instrument]*prometheus.Desc {
	descs := make(map[*Instrument]*prometheus.Desc, len(catalogue))
	for _, i := range catalogue {
		descs[i] = prometheus.NewDesc(i.Name, i.Help, i.Labels, nil)
	}
	return descs
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for _, f := range c.m.Gather().Families {
		d := c.descs[f.Instrument]
		for _, s := range f.Series {
			switch f.Kind {
			case Counter:
				to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, s.Value, s.Labels...)
			case Gauge:
				to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, s.Value, s.Labels...)
			case Histogram:
				to <- &sample{desc: d, labels: prometheus.MakeLabelPairs(d, s.Labels), h: s.Distribution.proto(f.Classic)}
			}
		}
	}
}

// sample is a histogram with both kinds of buckets, which the library makes no
// constants of.
type sample struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	h      *dto.Histogram
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(to *dto.Metric) error {
	to.Label, to.Histogram = s.labels, s.h
	return nil
}

// proto has the classic buckets with the given bounds, and the native ones.
func (d *Distribution) proto(classic []float64) *dto.Histogram {
	h := &dto.Histogram{
		SampleCount: new(d.Count), SampleSum: new(d.Sum),
		Schema: new(int32(schema)), ZeroThreshold: new(d.Floor), ZeroCount: new(d.Zero),
	}
	for _, bound := range classic {
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: new(bound), CumulativeCount: new(d.AtMost(bound))})
	}
	// A span is a run of buckets without a gap; its offset counts from the end of the
	// one before, and each bucket is the difference to the one before. The first span
	// is there even if it is empty: it marks the histogram as native.
	length, next, before := new(uint32(0)), 0, uint64(0)
	spans := []*dto.BucketSpan{{Offset: new(int32(0)), Length: length}}
	for _, b := range d.Buckets {
		if gap := b.Index - next; gap != 0 {
			length = new(uint32(0))
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(gap)), Length: length})
		}
		*length++
		h.PositiveDelta = append(h.PositiveDelta, int64(b.Count)-int64(before))
		next, before = b.Index+1, b.Count
	}
	h.PositiveSpan = spans
	return h
}
