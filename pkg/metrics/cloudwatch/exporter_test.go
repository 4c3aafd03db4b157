package cloudwatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatchtest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// service is what takes the place of CloudWatch.
type service struct {
	t *testing.T
	*cloudwatchtest.Server
}

func newService(t *testing.T) *service { return &service{t, cloudwatchtest.New(t)} }

func (a *service) exporter(m *metrics.Metrics, cfg Config) *Exporter {
	cfg.Region, cfg.Endpoint = "eu-central-1", a.URL
	e, err := New(a.t.Context(), m, cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	return e
}

// TestCloudWatchAndPrometheusAgree counts 10,000 messages of two gateways, in
// several reports, and compares what CloudWatch got with the instruments.
func TestCloudWatchAndPrometheusAgree(t *testing.T) {
	a := newService(t)
	var gateways []*metrics.Metrics
	var exporters []*Exporter
	for range 2 {
		m := metrics.New()
		gateways = append(gateways, m)
		exporters = append(exporters, a.exporter(m, Config{Owner: Dimension{"Gateway", "public"}}))
	}
	for i := range 10_000 {
		h := gateways[i%2].Gateway("public")
		h.MessagesIn("chat", 1, 100)
		h.MessagesOut(1, 120)
		took := time.Duration(i+1) * 37 * time.Microsecond
		h.Requests("chat", "/echo")(took*9/10, took)
		if i%3333 == 3332 {
			for _, e := range exporters {
				e.tell(t.Context())
			}
		}
	}
	for _, e := range exporters {
		e.tell(t.Context())
	}
	for name, instrument := range map[string]string{
		"MessagesTotal": "boreas_gateway_messages_received_total", "MessagesDelivered": "boreas_gateway_messages_sent_total",
	} {
		var want float64
		for _, m := range gateways {
			f, _ := m.Gather().Family(instrument)
			want += f.Series[0].Value
		}
		if got, _ := a.Sum(name); got != want || want != 10_000 {
			t.Errorf("%s adds up to %v; %s to %v", name, got, instrument, want)
		}
	}
	var seconds float64
	for _, m := range gateways {
		f, _ := m.Gather().Family("boreas_gateway_request_duration_seconds")
		seconds += f.Series[0].Distribution.Sum
	}
	if ms, n := a.Sum("AverageLatencyMs"); n != 10_000 || math.Abs(ms/1000/seconds-1) > 0.05 {
		t.Errorf("%v latencies, %v ms in all; the instruments say %v s", n, ms, seconds)
	}
	for _, d := range a.Data() {
		if got := fmt.Sprint(d["Dimensions"]); !strings.Contains(got, "Value:public") && !strings.Contains(got, "Value:boreas") {
			t.Errorf("%v has dimensions %s", d["MetricName"], got)
		}
	}
}

// TestClockSkew: a server whose clock is ahead refuses a call, which is made again, signed
// for the time that it is there.
func TestClockSkew(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	e := a.exporter(m, Config{})
	const ahead = 20 * time.Minute
	a.Refuse(cloudwatchtest.Error(403, "RequestTimeTooSkewed", "Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat)))
	m.Gateway("public").MessagesOut(5, 1)
	e.tell(t.Context())
	calls := a.Calls("PutMetricData")
	if len(calls) != 1 || a.Asked() != 2 || time.Until(calls[0].Signed) < ahead*3/4 {
		t.Errorf("asked %d times, then called: %v", a.Asked(), calls)
	}
}

// TestEndCutsNoCall: a call that is under way when the exporter ends is finished, not
// made again, and what was counted since is told as well.
func TestEndCutsNoCall(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	e := a.exporter(m, Config{Interval: time.Second})
	begun, release, cut := make(chan struct{}), make(chan struct{}), make(chan struct{})
	a.Refuse(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		body, _ := io.ReadAll(r.Body) // else the server does not notice that the client leaves
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-release:
		case <-r.Context().Done():
			close(cut)
		}
		a.ServeHTTP(w, r)
	})
	m.Gateway("public").MessagesOut(5, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	<-begun
	m.Gateway("public").MessagesOut(2, 1)
	cancel()
	select {
	case <-cut:
		t.Error("the call was cut")
	case <-time.After(100 * time.Millisecond):
		close(release)
	}
	<-ended
	if sum, _ := a.Sum("MessagesDelivered"); sum != 7 {
		t.Errorf("CloudWatch was told of %v messages; want 7", sum)
	}
}

// TestOutagesLoseNothing lets calls be throttled, fail, and be refused for the clock.
func TestOutagesLoseNothing(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	h := m.Gateway("public")
	e := a.exporter(m, Config{})
	later := time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat)
	a.Refuse(
		cloudwatchtest.Error(400, "ThrottlingException"),
		cloudwatchtest.Error(503, "ServiceUnavailable"),
		// A server whose clock is ahead: the SDK signs again with its time.
		cloudwatchtest.Error(403, "RequestTimeTooSkewed", "Date", later),
	)
	h.MessagesOut(5, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.tell(ctx)
	for len(e.backlog) > 0 && ctx.Err() == nil {
		e.tell(ctx)
	}
	if got, _ := a.Sum("MessagesDelivered"); got != 5 {
		t.Errorf("%v messages arrived; want 5 (%d calls)", got, a.Asked())
	}

	// An end of the context stands for a server that does not answer.
	gone, stop := context.WithCancel(t.Context())
	stop()
	for range 5 {
		h.MessagesOut(1, 1)
		e.tell(gone)
	}
	if len(e.backlog) != 5 {
		t.Errorf("%d calls are kept; want 5", len(e.backlog))
	}
	e.tell(t.Context())
	if got, _ := a.Sum("MessagesDelivered"); got != 10 || len(e.backlog) != 0 {
		t.Errorf("%v messages arrived, %d calls are kept; want 10 and none", got, len(e.backlog))
	}

	a.Refuse(cloudwatchtest.Error(400, "InvalidParameterValueException"))
	e.cfg.Backlog = 2
	for range 5 {
		e.tell(gone)
	}
	if len(e.backlog) != 2 {
		t.Errorf("%d calls are kept; the bound is 2", len(e.backlog))
	}
}

// TestRunReportsOnceMoreAtItsEnd ends Run long before the interval does.
func TestRunReportsOnceMoreAtItsEnd(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	h := m.Gateway("public")
	e := a.exporter(m, Config{Interval: time.Hour})
	h.SocketOpened()
	h.SocketClosed(wire.CloseAbnormal, "client_gone", time.Second)
	ctx, end := context.WithCancel(t.Context())
	end()
	e.Run(ctx)
	for _, name := range []string{"ConnectCount", "UnexpectedDisconnects"} {
		if got, _ := a.Sum(name); got != 1 {
			t.Errorf("%s: %v; want 1", name, got)
		}
	}
	if got, _ := a.Sum("ActiveConnections"); got != 0 {
		t.Errorf("ActiveConnections: %v", got)
	}
}

// TestLargeReportsAreSplitAndCompressed has more metrics than a call takes.
func TestLargeReportsAreSplitAndCompressed(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	e := a.exporter(m, Config{})
	const gateways = 200
	for i := range gateways {
		h := m.Gateway(fmt.Sprintf("g%d", i))
		for n := range 300 {
			h.Requests("s", "/p")(0, time.Duration(math.Exp2(float64(n)/8))*time.Microsecond/1000)
		}
	}
	e.tell(t.Context())
	calls := a.Calls("PutMetricData")
	if len(calls) < 3 {
		t.Errorf("%d calls", len(calls))
	}
	for _, c := range calls {
		if list, _ := c.Input["MetricData"].([]any); !c.Zipped || c.Size > 1<<20 || len(list) > maxData || c.Input["Namespace"] != "Boreas" {
			t.Errorf("a call of namespace %v has %d metrics in %d bytes; compressed: %v", c.Input["Namespace"], len(list), c.Size, c.Zipped)
		}
	}
	if _, n := a.Sum("AverageLatencyMs"); n != gateways*300 {
		t.Errorf("%v latencies", n)
	}
}

func TestEMF(t *testing.T) {
	var out bytes.Buffer
	m := metrics.New()
	e, err := New(t.Context(), m, Config{EMF: &out, Cluster: "c", Dimensions: []Dimension{{"Stage", "test"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Gateway("public")
	h.MessagesIn("chat", 1, 1)
	h.Requests("chat", "/p")(time.Millisecond, 2*time.Millisecond)
	e.tell(t.Context())
	found := false
	for line := range strings.Lines(out.String()) {
		var v struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
			Gateway, Cluster, Stage string
			MessagesTotal           float64
			AverageLatencyMs        struct{ Values, Counts []float64 }
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if v.Gateway != "public" {
			continue
		}
		found = true
		directive := v.AWS.CloudWatchMetrics[0]
		if v.Cluster != "c" || v.Stage != "test" || v.MessagesTotal != 1 || len(v.AverageLatencyMs.Counts) != 1 ||
			math.Abs(v.AverageLatencyMs.Values[0]-2) > 0.1 || v.AWS.Timestamp == 0 || directive.Namespace != "Boreas" ||
			fmt.Sprint(directive.Dimensions) != "[[Cluster Gateway Stage]]" || len(directive.Metrics) < 10 {
			t.Errorf("line %s", line)
		}
	}
	if !found {
		t.Errorf("no line of the gateway in %s", out.String())
	}
}

// TestSourcesExist holds the metrics against the catalogue.
func TestSourcesExist(t *testing.T) {
	known := map[string][]string{}
	for _, i := range metrics.Catalogue() {
		known[i.Name] = i.Labels
	}
	for _, m := range Metrics {
		for _, s := range m.Sources {
			labels, ok := known[s.Instrument]
			if !ok || s.Label != "" && !strings.Contains(strings.Join(labels, " "), s.Label) {
				t.Errorf("%s is made of %s by %q, which does not exist", m.Name, s.Instrument, s.Label)
			}
		}
	}
}
