package aws

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
	"github.com/boreas-ws/boreas/pkg/metrics/dashboard"
)

// reported reports whether gateways tell CloudWatch about a metric.
func reported(name string) bool {
	return slices.ContainsFunc(cloudwatch.Metrics, func(m cloudwatch.Metric) bool { return m.Name == name })
}

// metricNames are the metrics of our own namespace that alarms and scaling use.
func metricNames(v any) (names []string) {
	switch v := v.(type) {
	case object:
		if v["Namespace"] == "Boreas" {
			names = append(names, fmt.Sprint(v["MetricName"]))
			var dimensions []string
			list, _ := v["Dimensions"].([]any)
			for _, d := range list {
				dimension, _ := d.(object)
				dimensions = append(dimensions, fmt.Sprint(dimension["Name"], "=", dimension["Value"]))
			}
			if !slices.Equal(dimensions, []string{"Cluster=boreas", "Gateway=public"}) {
				names = append(names, fmt.Sprint("dimensions ", dimensions))
			}
		}
		for _, inner := range v {
			names = append(names, metricNames(inner)...)
		}
	case []any:
		for _, inner := range v {
			names = append(names, metricNames(inner)...)
		}
	}
	return names
}

// TestMetricsExist: alarms, scaling and dashboard look at nothing that gateways do not
// report.
func TestMetricsExist(t *testing.T) {
	for _, kind := range balancers {
		s := deploy(t, withBalancer(kind))["gateway.yaml"]
		found := 0
		for name, r := range s.resources {
			for _, metric := range metricNames(r.properties) {
				found++
				if !reported(metric) {
					t.Errorf("%s looks at %s", name, metric)
				}
			}
		}
		if found < 5 {
			t.Errorf("only %d metrics in alarms and scaling", found)
		}
		text := fmt.Sprint(s.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
		var have, want struct{ Widgets []any }
		if err := json.Unmarshal([]byte(text), &have); err != nil {
			t.Fatalf("the dashboard's body: %v\n%s", err, text)
		}
		of := dashboard.Of{Region: "eu-central-1", Namespace: "Boreas", Cluster: "boreas", Gateway: "public"}
		if err := json.Unmarshal(dashboard.CloudWatch(of), &want); err != nil {
			t.Fatal(err)
		}
		if len(have.Widgets) == 0 {
			t.Fatal("the dashboard is empty")
		}
		if d := cmp.Diff(want.Widgets, have.Widgets[:len(have.Widgets)-1]); d != "" {
			t.Errorf("the dashboard is not what boreas dashboard cloudwatch prints: %s", d)
		}
	}
}
