package dashboard

import "encoding/json"

type object = map[string]any

// Grafana returns the dashboard as Grafana imports it.
func Grafana() []byte {
	const width, height, perLine = 6, 8, 4
	var panels []object
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, row := range Rows {
		panels = append(panels, object{"id": next(), "type": "row", "title": row.Title, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": width * perLine, "h": 1}})
		y++
		for n, p := range row.Panels {
			var targets []object
			for i, q := range p.Queries {
				targets = append(targets, object{"refId": string(rune('A' + i)), "expr": q.Expr, "legendFormat": q.Legend, "datasource": source})
			}
			panels = append(panels, object{
				"id": next(), "type": "timeseries", "title": p.Title, "datasource": source, "targets": targets,
				"fieldConfig": object{"defaults": object{"unit": p.Unit, "min": 0}, "overrides": []object{}},
				"gridPos":     object{"x": n % perLine * width, "y": y + n/perLine*height, "w": width, "h": height},
			})
		}
		y += (len(row.Panels) + perLine - 1) / perLine * height
	}
	b, err := json.MarshalIndent(object{
		"uid": "boreas", "title": "Boreas", "tags": []string{"boreas"}, "schemaVersion": 39, "version": 1,
		"editable": true, "refresh": "5s", "time": object{"from": "now-15m", "to": "now"}, "panels": panels,
		"templating": object{"list": []object{}}, "annotations": object{"list": []object{}},
	}, "", "  ")
	if err != nil {
		panic(err) // there is nothing in it that has no JSON
	}
	return append(b, '\n')
}

var source = object{"type": "prometheus", "uid": "prometheus"}
