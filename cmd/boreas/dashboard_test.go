package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatchtest"
)

// TestDashboardCloudwatch installs dashboard and alarms, and looks what CloudWatch
// gets: no metric that gateways do not report, under the dimensions that they use.
func TestDashboardCloudwatch(t *testing.T) {
	server := cloudwatchtest.New(t)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	boreas := func(status int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, log bytes.Buffer
		args = append([]string{"dashboard", "cloudwatch", "--cloudwatch-endpoint", server.URL}, args...)
		if got := run(args, nil, &out, &log); got != status {
			t.Fatalf("%v: status %d, %s", args, got, &log)
		}
		return out.String(), log.String()
	}
	flags := []string{"--cloudwatch-region", "eu-central-1", "--name", "inside", "--namespace", "shop", "--cloudwatch-dimensions", "Stage=test"}
	printed, _ := boreas(0, flags...)
	if server.Asked() != 0 {
		t.Errorf("printing made %d calls", server.Asked())
	}
	out, _ := boreas(0, append(flags, "--put", "--alarms", "--alarm-topic", "arn:aws:sns:eu-central-1:1:ops", "--max-sockets", "500")...)
	if want := "dashboard shop-inside\nalarm shop-inside-disconnects\n"; !strings.HasPrefix(out, want) {
		t.Errorf("printed %q", out)
	}

	put := server.Calls("PutDashboard")
	if len(put) != 1 || put[0].Input["DashboardName"] != "shop-inside" || put[0].Input["DashboardBody"] != printed {
		t.Fatalf("PutDashboard: %v", put)
	}
	var body struct {
		Widgets []struct {
			Properties struct {
				Region  string
				Metrics [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(printed), &body); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{} // and whether it is drawn
	for _, m := range cloudwatch.Metrics {
		known[m.Name] = false
	}
	for _, w := range body.Widgets {
		if w.Properties.Region != "eu-central-1" {
			t.Errorf("region %q", w.Properties.Region)
		}
		for _, m := range w.Properties.Metrics {
			name := fmt.Sprint(m[1])
			if _, ok := known[name]; !ok {
				t.Errorf("it draws %s", name)
			}
			known[name] = true
			if got := fmt.Sprint(m[2:8]); m[0] != "Boreas" || got != "[Cluster shop Gateway inside Stage test]" {
				t.Errorf("%s is drawn of %v %s", name, m[0], got)
			}
		}
	}
	for name, drawn := range known {
		if !drawn {
			t.Errorf("%s is not drawn", name)
		}
	}

	alarms := server.Calls("PutMetricAlarm")
	if len(alarms) != 5 {
		t.Errorf("%d alarms", len(alarms))
	}
	for _, a := range alarms {
		metrics := []any{a.Input}
		if list, ok := a.Input["Metrics"].([]any); ok {
			metrics = nil
			for _, m := range list {
				if stat, ok := m.(map[string]any)["MetricStat"].(map[string]any); ok {
					metrics = append(metrics, stat["Metric"])
				}
			}
		}
		if len(metrics) == 0 || fmt.Sprint(a.Input["AlarmActions"]) != "[arn:aws:sns:eu-central-1:1:ops]" {
			t.Errorf("alarm %v", a.Input)
		}
		for _, m := range metrics {
			metric, _ := m.(map[string]any)
			if _, ok := known[fmt.Sprint(metric["MetricName"])]; !ok || metric["Namespace"] != "Boreas" {
				t.Errorf("%v looks at %v of %v", a.Input["AlarmName"], metric["MetricName"], metric["Namespace"])
			}
			if d, _ := metric["Dimensions"].([]any); len(d) != 3 {
				t.Errorf("%v has dimensions %v", a.Input["AlarmName"], d)
			}
		}
	}
	if !slices.ContainsFunc(alarms, func(c cloudwatchtest.Call) bool { return strings.Contains(fmt.Sprint(c.Input), "100 * most / 500") }) {
		t.Error("no alarm for a gateway that is nearly full")
	}

	server.Refuse(cloudwatchtest.Error(400, "InvalidParameterInput"))
	if _, log := boreas(1, append(flags, "--put")...); !strings.Contains(log, "dashboard shop-inside") {
		t.Errorf("refused: %s", log)
	}
	for _, bad := range [][]string{{}, append(flags, "--as", "a b"), append(flags, "--alarm-topic", "arn")} {
		boreas(2, bad...)
	}
}
