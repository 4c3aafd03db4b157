package cloudwatch

import (
	"slices"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/metrics"
)

// Dimension is a name and a value that tell metrics of one name apart.
type Dimension struct{ Name, Value string }

// Datum is one metric in one report.
type Datum struct {
	Name, Unit     string
	Dimensions     []Dimension
	Time           time.Time
	Value          float64   // without Values
	Values, Counts []float64 // of a latency
}

// owner is what a series belongs to: the gateway or service that its first label
// names, or the process.
func (e *Exporter) owner(f metrics.Family, s metrics.Series) Dimension {
	switch {
	case len(f.Labels) > 0 && f.Labels[0] == "gateway":
		return Dimension{"Gateway", s.Labels[0]}
	case len(f.Labels) > 0 && f.Labels[0] == "service":
		return Dimension{"Service", s.Labels[0]}
	default:
		return e.cfg.Owner
	}
}

// report returns what happened since the last report. Run calls it, one at a time.
func (e *Exporter) report() []Datum {
	snapshot := e.metrics.Gather()
	var data []Datum
	for _, m := range Metrics {
		values := map[Dimension]float64{}
		distributions := map[Dimension][]*metrics.Distribution{}
		owners := e.quiet(snapshot, m)
		for _, source := range m.Sources {
			f, ok := snapshot.Family(source.Instrument)
			if !ok {
				continue
			}
			was, _ := e.last.Family(source.Instrument)
			for _, s := range f.Series {
				if !source.takes(f, s) {
					continue
				}
				by := e.owner(f, s)
				if !slices.Contains(owners, by) {
					owners = append(owners, by)
				}
				before := find(was.Series, s.Labels)
				switch m.kind {
				case latency:
					distributions[by] = append(distributions[by], s.Distribution.Since(before.Distribution))
				case level:
					values[by] += s.Value
				case delta:
					values[by] += s.Value - before.Value
				}
			}
		}
		for _, by := range owners {
			d := Datum{Name: m.Name, Unit: m.Unit, Dimensions: e.dimensions(by), Time: snapshot.Time, Value: values[by] * m.scale}
			if m.kind != latency {
				data = append(data, d)
				continue
			}
			d.Values, d.Counts = merge(distributions[by], m.scale)
			data = append(data, split(d, e.maxValues)...)
		}
	}
	e.last = snapshot
	return data
}

// quiet returns those whose counts are reported even if there is nothing to count:
// an alarm needs the zeros.
func (e *Exporter) quiet(s metrics.Snapshot, m Metric) (owners []Dimension) {
	if m.kind != delta {
		return nil
	}
	if !strings.HasPrefix(m.Sources[0].Instrument, "boreas_gateway_") {
		return []Dimension{e.cfg.Owner}
	}
	f, _ := s.Family("boreas_gateway_sockets")
	for _, series := range f.Series {
		owners = append(owners, e.owner(f, series))
	}
	return owners
}

func (e *Exporter) dimensions(by Dimension) []Dimension {
	list := []Dimension{{"Cluster", e.cfg.Cluster}}
	if by.Name != "" {
		list = append(list, by)
	}
	return append(list, e.cfg.Dimensions...)
}

// find returns the series with these labels; the zero one if there is none.
func find(series []metrics.Series, labels []string) metrics.Series {
	n, ok := slices.BinarySearchFunc(series, labels, func(s metrics.Series, l []string) int { return slices.Compare(s.Labels, l) })
	if !ok {
		return metrics.Series{}
	}
	return series[n]
}

// merge adds distributions up: the middles of their buckets, and how many values
// are in each.
func merge(all []*metrics.Distribution, scale float64) (values, counts []float64) {
	n := map[float64]float64{}
	for _, d := range all {
		if d.Zero > 0 {
			n[d.Floor*scale] += float64(d.Zero)
		}
		for _, b := range d.Buckets {
			n[b.Middle()*scale] += float64(b.Count)
		}
	}
	for v := range n {
		values = append(values, v)
	}
	slices.Sort(values)
	for _, v := range values {
		counts = append(counts, n[v])
	}
	return values, counts
}

// split makes data of at most limit values of one with more.
func split(d Datum, limit int) (list []Datum) {
	for len(d.Values) > 0 {
		n := min(limit, len(d.Values))
		part := d
		part.Values, part.Counts = d.Values[:n], d.Counts[:n]
		d.Values, d.Counts = d.Values[n:], d.Counts[n:]
		list = append(list, part)
	}
	return list
}
