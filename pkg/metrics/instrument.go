package metrics

import "slices"

// Kind is what an instrument does.
type Kind uint8

// The kinds of instruments.
const (
	Counter   Kind = iota + 1 // only grows
	Gauge                     // is what it is now
	Histogram                 // how often which values occurred
)

func (k Kind) String() string {
	return [...]string{Counter: "counter", Gauge: "gauge", Histogram: "histogram"}[k]
}

// Unit is what an instrument counts in.
type Unit string

// The units.
const (
	Seconds Unit = "seconds"
	Bytes   Unit = "bytes"
	Count   Unit = "" // of what the name says
)

// Instrument describes a family of time series, one for each combination of label
// values that occurs. Its name is boreas_<subsystem>_<name>_<unit>.
type Instrument struct {
	Name   string
	Kind   Kind
	Unit   Unit
	Help   string
	Labels []string // their values come from small sets: see docs/metrics.md

	// Classic are the upper bounds of a histogram's classic buckets. The native
	// buckets are finer: eight for each doubling.
	Classic []float64
}

// catalogue has every instrument, in the order of declaration.
var catalogue []*Instrument

// Catalogue lists all instruments, by name.
func Catalogue() []*Instrument {
	return slices.SortedFunc(slices.Values(catalogue), func(a, b *Instrument) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		default:
			return 0
		}
	})
}

func declare(i Instrument) *Instrument {
	catalogue = append(catalogue, &i)
	return &i
}

func counterOf(name, help string, labels ...string) *Instrument {
	unit := Count
	if len(name) > len("_bytes_total") && name[len(name)-len("_bytes_total"):] == "_bytes_total" {
		unit = Bytes
	}
	return declare(Instrument{Name: name, Kind: Counter, Unit: unit, Help: help, Labels: labels})
}

func gaugeOf(name string, unit Unit, help string, labels ...string) *Instrument {
	return declare(Instrument{Name: name, Kind: Gauge, Unit: unit, Help: help, Labels: labels})
}

// timesOf is a histogram of durations.
func timesOf(name, help string, labels ...string) *Instrument {
	return declare(Instrument{Name: name, Kind: Histogram, Unit: Seconds, Help: help, Labels: labels, Classic: powersOfTwo(-13, 5)})
}

// sizesOf is a histogram of numbers of things.
func sizesOf(name string, unit Unit, help string, labels ...string) *Instrument {
	return declare(Instrument{Name: name, Kind: Histogram, Unit: unit, Help: help, Labels: labels, Classic: powersOfTwo(0, 20)})
}

// powersOfTwo are bounds that native buckets have as well, so that classic ones are
// exact sums of them.
func powersOfTwo(from, to int) []float64 {
	var bounds []float64
	for e := from; e <= to; e++ {
		b := 1.0
		for range max(e, -e) {
			b *= 2
		}
		if e < 0 {
			b = 1 / b
		}
		bounds = append(bounds, b)
	}
	return bounds
}
