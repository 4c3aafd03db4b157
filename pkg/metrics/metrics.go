package metrics

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
)

// Metrics are the instruments of one process. Its methods may be called from any
// goroutine. Those that return hooks return none for a nil *Metrics: a process
// without instruments.
type Metrics struct {
	// immutable; the vecs grow
	counters   map[*Instrument]*vec[counter]
	gauges     map[*Instrument]*vec[gauge]
	histograms map[*Instrument]*vec[histogram]

	gathering sync.Mutex // held while gauges are sampled and read

	mu     sync.Mutex
	planes []*backplane.Backplane // those that are open
}

// New makes instruments that show nothing yet.
func New() *Metrics {
	m := &Metrics{
		counters:   map[*Instrument]*vec[counter]{},
		gauges:     map[*Instrument]*vec[gauge]{},
		histograms: map[*Instrument]*vec[histogram]{},
	}
	for _, i := range catalogue {
		n := len(i.Labels)
		switch i.Kind {
		case Counter:
			m.counters[i] = newVec(n, func(labels) *counter { return newCounter() })
		case Gauge:
			m.gauges[i] = newVec(n, func(labels) *gauge { return &gauge{} })
		case Histogram:
			m.histograms[i] = newVec(n, func(labels) *histogram { return newHistogram(i) })
		}
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	m.gauge(processBuild, version, runtime.Version()).store(1)
	return m
}

// The series of an instrument with these label values.
func (m *Metrics) counter(i *Instrument, values ...string) *counter {
	return m.counters[i].with(values...)
}
func (m *Metrics) gauge(i *Instrument, values ...string) *gauge { return m.gauges[i].with(values...) }
func (m *Metrics) histogram(i *Instrument, values ...string) *histogram {
	return m.histograms[i].with(values...)
}

// Snapshot is what the instruments show at one moment.
type Snapshot struct {
	Time     time.Time
	Families []Family // by name; those without series are left out
}

// Family is the series of one instrument.
type Family struct {
	*Instrument
	Series []Series
}

// Series is one time series.
type Series struct {
	Labels       []string      // values, in the order of Instrument.Labels
	Value        float64       // of a counter or gauge
	Distribution *Distribution // of a histogram
}

// Gather reads all instruments.
func (m *Metrics) Gather() Snapshot {
	m.gathering.Lock()
	defer m.gathering.Unlock()
	m.sample()
	s := Snapshot{Time: time.Now()}
	for _, i := range Catalogue() {
		f := Family{Instrument: i}
		switch i.Kind {
		case Counter:
			f.Series = read(m.counters[i], func(c *counter, s *Series) { s.Value = float64(c.value()) })
		case Gauge:
			f.Series = read(m.gauges[i], func(g *gauge, s *Series) { s.Value = g.value() })
		case Histogram:
			f.Series = read(m.histograms[i], func(h *histogram, s *Series) { s.Distribution = h.value() })
		}
		if len(f.Series) > 0 {
			s.Families = append(s.Families, f)
		}
	}
	return s
}

// read returns the series of a vec, ordered by their labels.
func read[T any](v *vec[T], value func(*T, *Series)) []Series {
	known := *v.known.Load()
	all := make([]Series, 0, len(known))
	for key, t := range known {
		s := Series{Labels: slices.Clone(key[:v.n])}
		value(t, &s)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Series) int { return slices.Compare(a.Labels, b.Labels) })
	return all
}

// Family returns the series of an instrument.
func (s Snapshot) Family(name string) (Family, bool) {
	for _, f := range s.Families {
		if f.Name == name {
			return f, true
		}
	}
	return Family{}, false
}
