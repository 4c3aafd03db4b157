package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
)

// Of says whose metrics in CloudWatch are meant: those of gateways with a name.
type Of struct {
	Region     string
	Namespace  string // in CloudWatch
	Cluster    string // the namespace of the backplane
	Gateway    string
	Dimensions []cloudwatch.Dimension // those that were added to all metrics
}

// dimensions are those of all metrics, in the order of the exporter.
func (o Of) dimensions() []cloudwatch.Dimension {
	return append([]cloudwatch.Dimension{{Name: "Cluster", Value: o.Cluster}, {Name: "Gateway", Value: o.Gateway}}, o.Dimensions...)
}

// CloudWatch returns the body of the dashboard for CloudWatch: a chart for each
// group of metrics, and a line in it for each statistic.
func CloudWatch(of Of) []byte {
	const width, height, perLine = 12, 6, 2
	var charts []string
	metrics := map[string][]cloudwatch.Metric{}
	for _, m := range cloudwatch.Metrics {
		if metrics[m.Chart] == nil {
			charts = append(charts, m.Chart)
		}
		metrics[m.Chart] = append(metrics[m.Chart], m)
	}
	var b bytes.Buffer
	b.WriteString("{\"widgets\": [")
	for i, title := range charts {
		fmt.Fprintf(&b, "%s\n  {\"type\": \"metric\", \"x\": %d, \"y\": %d, \"width\": %d, \"height\": %d, \"properties\": {\n    \"title\": %s, \"region\": %s, \"period\": 60, \"metrics\": [",
			comma(i), i%perLine*width, i/perLine*height, width, height, text(title), text(of.Region))
		lines := 0
		for _, m := range metrics[title] {
			for _, stat := range m.Stats {
				b.WriteString(comma(lines) + "\n      " + of.line(m, stat))
				lines++
			}
		}
		b.WriteString("]}}")
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

// line is a metric in a chart, and how it is drawn.
func (o Of) line(m cloudwatch.Metric, stat string) string {
	names := []string{text(o.Namespace), text(m.Name)}
	for _, d := range o.dimensions() {
		names = append(names, text(d.Name), text(d.Value))
	}
	label := m.Name
	if len(m.Stats) > 1 {
		label += " " + stat
	}
	s := "[" + strings.Join(names, ", ") + ", {\"stat\": " + text(stat) + ", \"label\": " + text(label)
	if m.Chart == "Links and Redis" && m.Unit == "Milliseconds" { // beside counts
		s += ", \"yAxis\": \"right\""
	}
	return s + "}]"
}

func text(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string has a JSON
	}
	return string(b)
}

func comma(before int) string {
	if before == 0 {
		return ""
	}
	return ","
}
