package cloudwatch

import (
	"encoding/json"
	"io"
	"slices"
)

// writeEMF writes a line for each set of dimensions, and one more for each metric
// that has more values than fit.
func writeEMF(w io.Writer, namespace string, data []Datum) error {
	type metric struct{ Name, Unit string }
	for len(data) > 0 {
		first := data[0]
		line, metrics, names := map[string]any{}, []metric(nil), []string(nil)
		for _, d := range first.Dimensions {
			names = append(names, d.Name)
			line[d.Name] = d.Value
		}
		var rest []Datum
		for _, d := range data {
			taken := slices.ContainsFunc(metrics, func(m metric) bool { return m.Name == d.Name })
			if taken || !slices.Equal(d.Dimensions, first.Dimensions) {
				rest = append(rest, d)
				continue
			}
			metrics = append(metrics, metric{d.Name, d.Unit})
			line[d.Name] = d.emf()
		}
		line["_aws"] = map[string]any{
			"Timestamp":         first.Time.UnixMilli(),
			"CloudWatchMetrics": []any{map[string]any{"Namespace": namespace, "Dimensions": [][]string{names}, "Metrics": metrics}},
		}
		b, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

// emf is the value in a line: a number, or a histogram.
func (d Datum) emf() any {
	if d.Values == nil {
		return d.Value
	}
	var count, sum float64
	for i, v := range d.Values {
		count += d.Counts[i]
		sum += v * d.Counts[i]
	}
	return map[string]any{
		"Values": d.Values, "Counts": d.Counts, "Count": count, "Sum": sum,
		"Min": d.Values[0], "Max": d.Values[len(d.Values)-1],
	}
}
