package aws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// metrics are the names under which gateways report to CloudWatch.
var metrics = []string{
	"MessagesTotal", "MessagesDelivered", "ActiveConnections", "AverageLatencyMs", "UnexpectedDisconnects",
	"ConnectCount", "MessageCount", "ClientError", "IntegrationError", "ExecutionError", "IntegrationLatency",
	"DroppedMessages", "LinkRetransmits", "LinkResets", "CanaryAgeMs",
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
				if !slices.Contains(metrics, metric) {
					t.Errorf("%s looks at %s", name, metric)
				}
			}
		}
		if found < 5 {
			t.Errorf("only %d metrics in alarms and scaling", found)
		}
		var body struct {
			Widgets []struct {
				Properties struct{ Metrics [][]any }
			}
		}
		text := fmt.Sprint(s.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
		decoder := json.NewDecoder(strings.NewReader(text))
		if err := decoder.Decode(&body); err != nil {
			t.Fatalf("the dashboard's body: %v\n%s", err, text)
		}
		drawn := 0
		for _, w := range body.Widgets {
			namespace := any("")
			for _, m := range w.Properties.Metrics {
				if m[0] != "." && m[0] != "..." {
					namespace = m[0]
				}
				if len(m) < 2 || namespace != "Boreas" || m[0] == "..." {
					continue
				}
				drawn++
				if !slices.Contains(metrics, fmt.Sprint(m[1])) {
					t.Errorf("the dashboard draws %v", m[1])
				}
			}
		}
		if drawn < 10 {
			t.Errorf("the dashboard draws %d metrics", drawn)
		}
	}
}
