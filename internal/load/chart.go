package load

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// The chart's measures, in pixels.
const (
	chartWidth  = 900
	chartHeight = 420
	plotLeft    = 70
	plotRight   = chartWidth - 80
	plotTop     = 40
	plotBottom  = chartHeight - 60
)

// curve is one line of the chart.
type curve struct {
	name, color string
	value       func(Point) float64
}

var latencyCurves = []curve{
	{"p50", "#2a9d8f", func(p Point) float64 { return p.Latency.P50 }},
	{"p90", "#e9c46a", func(p Point) float64 { return p.Latency.P90 }},
	{"p99", "#f4a261", func(p Point) float64 { return p.Latency.P99 }},
	{"max", "#c1121f", func(p Point) float64 { return p.Latency.Max }},
}

// scale maps values from 0 to top onto pixels.
type scale struct{ top, from, to float64 }

func (s scale) at(v float64) float64 { return s.from + v/s.top*(s.to-s.from) }

// WriteSVG draws latency (lines, left axis) and throughput (area, right axis) over
// time.
func (r *Report) WriteSVG(w io.Writer) error {
	var slowest, busiest, end float64
	for _, p := range r.Points {
		end = p.At
		slowest = max(slowest, p.Latency.Max)
	}
	rates := perSecond(r.Points)
	for _, rate := range rates {
		busiest = max(busiest, rate)
	}
	x := scale{max(end, 1), plotLeft, plotRight}
	ms := scale{round(slowest), plotBottom, plotTop}
	rate := scale{round(busiest), plotBottom, plotTop}

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", chartWidth, chartHeight)
	for i := range 6 {
		f := float64(i) / 5
		y := ms.at(ms.top * f)
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+"\n", plotLeft, y, plotRight)
		label(&b, plotLeft-6, y+4, "end", number(ms.top*f))
		label(&b, plotRight+6, y+4, "start", number(rate.top*f))
		label(&b, x.at(x.top*f), plotBottom+18, "middle", number(x.top*f))
	}
	label(&b, plotLeft, plotTop-10, "end", "latency, ms")
	label(&b, plotRight, plotTop-10, "start", "messages/s")
	label(&b, (plotLeft+plotRight)/2, plotBottom+36, "middle", "seconds")

	fmt.Fprintf(&b, `<path fill="#d8e2ef" d="M%d %d`, plotLeft, plotBottom)
	for i, p := range r.Points {
		fmt.Fprintf(&b, "L%.1f %.1f", x.at(p.At), rate.at(rates[i]))
	}
	fmt.Fprintf(&b, `L%.1f %dZ"/>`+"\n", x.at(end), plotBottom)
	for i, c := range latencyCurves {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, c.color)
		for _, p := range r.Points {
			fmt.Fprintf(&b, "%.1f,%.1f ", x.at(p.At), ms.at(c.value(p)))
		}
		b.WriteString(`"/>` + "\n")
		at := plotLeft + 120 + 80*i
		fmt.Fprintf(&b, `<path d="M%d %dh20" stroke="%s" stroke-width="3"/>`, at, plotTop-14, c.color)
		label(&b, float64(at+26), plotTop-10, "start", c.name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// perSecond is what was received, per second, at each point.
func perSecond(points []Point) []float64 {
	rates := make([]float64, len(points))
	before := 0.0
	for i, p := range points {
		if d := p.At - before; d > 0 {
			rates[i] = float64(p.Received) / d
		}
		before = p.At
	}
	return rates
}

func label(b *strings.Builder, x, y float64, anchor, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="#333">%s</text>`+"\n", x, y, anchor, text)
}

// round returns the next higher number that reads well in five steps; 1 for 0.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 2.5, 5} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}

// number writes an axis value.
func number(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%gk", math.Round(v/100)/10)
	}
	return fmt.Sprintf("%g", math.Round(v*100)/100)
}
