package cloudwatch

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// service is what takes the place of CloudWatch: it decodes what the SDK sends.
type service struct {
	t *testing.T
	*httptest.Server

	mu     sync.Mutex
	fail   []http.HandlerFunc // answers to the next requests
	calls  int
	zipped int
	data   []map[string]any
}

func newService(t *testing.T) *service {
	a := &service{t: t}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	return a
}

func (a *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if len(a.fail) > 0 {
		f := a.fail[0]
		a.fail = a.fail[1:]
		f(w, r)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		a.zipped++
		z, err := gzip.NewReader(body)
		if err != nil {
			a.t.Error(err)
			return
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/operation/PutMetricData") || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		a.t.Errorf("%s %v: %v", r.URL.Path, r.Header, err)
	}
	v, err := cbor.Decode(raw)
	if err != nil {
		a.t.Errorf("no CBOR: %v", err)
		return
	}
	in := plain(v).(map[string]any)
	if in["Namespace"] != "Boreas" {
		a.t.Errorf("namespace %v", in["Namespace"])
	}
	list := in["MetricData"].([]any)
	if len(list) > maxData || len(raw) > 1<<20 {
		a.t.Errorf("a call has %d metrics in %d bytes", len(list), len(raw))
	}
	for _, d := range list {
		a.data = append(a.data, d.(map[string]any))
	}
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	_, _ = w.Write(cbor.Encode(cbor.Map{}))
}

// plain turns CBOR into Go's own types.
func plain(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.Map:
		m := map[string]any{}
		for k, e := range v {
			m[k] = plain(e)
		}
		return m
	case cbor.List:
		list := []any{}
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	case cbor.String:
		return string(v)
	case *cbor.Tag:
		return plain(v.Value)
	default:
		f, err := cbor.AsFloat64(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return f
	}
}

// refuse answers with an error of AWS.
func refuse(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write(cbor.Encode(cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + code), "message": cbor.String("refused")}))
	}
}

// sum adds up what came of a metric: its value, or its counts.
func (a *service) sum(name string) (value, count float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.data {
		if d["MetricName"] != name {
			continue
		}
		if values, ok := d["Values"].([]any); ok {
			counts := d["Counts"].([]any)
			if len(values) > maxValuesAPI || len(values) != len(counts) {
				a.t.Errorf("%d values, %d counts", len(values), len(counts))
			}
			for i := range values {
				value += values[i].(float64) * counts[i].(float64)
				count += counts[i].(float64)
			}
			continue
		}
		value += d["Value"].(float64)
	}
	return value, count
}

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
		h.MessageIn("chat", 100)
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
		if got, _ := a.sum(name); got != want || want != 10_000 {
			t.Errorf("%s adds up to %v; %s to %v", name, got, instrument, want)
		}
	}
	var seconds float64
	for _, m := range gateways {
		f, _ := m.Gather().Family("boreas_gateway_request_duration_seconds")
		seconds += f.Series[0].Distribution.Sum
	}
	if ms, n := a.sum("AverageLatencyMs"); n != 10_000 || math.Abs(ms/1000/seconds-1) > 0.05 {
		t.Errorf("%v latencies, %v ms in all; the instruments say %v s", n, ms, seconds)
	}
	for _, d := range a.data {
		if got := fmt.Sprint(d["Dimensions"]); !strings.Contains(got, "Value:public") && !strings.Contains(got, "Value:boreas") {
			t.Errorf("%v has dimensions %s", d["MetricName"], got)
		}
	}
}

// TestOutagesLoseNothing lets calls be throttled, fail, and be refused for the clock.
func TestOutagesLoseNothing(t *testing.T) {
	a := newService(t)
	m := metrics.New()
	h := m.Gateway("public")
	e := a.exporter(m, Config{})
	later := time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat)
	a.fail = []http.HandlerFunc{
		refuse(400, "ThrottlingException"),
		refuse(503, "ServiceUnavailable"),
		// A server whose clock is ahead: the SDK signs again with its time.
		refuse(403, "RequestTimeTooSkewed", "Date", later),
	}
	h.MessagesOut(5, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.tell(ctx)
	for len(e.backlog) > 0 && ctx.Err() == nil {
		e.tell(ctx)
	}
	if got, _ := a.sum("MessagesDelivered"); got != 5 {
		t.Errorf("%v messages arrived; want 5 (%d calls)", got, a.calls)
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
	if got, _ := a.sum("MessagesDelivered"); got != 10 || len(e.backlog) != 0 {
		t.Errorf("%v messages arrived, %d calls are kept; want 10 and none", got, len(e.backlog))
	}

	a.fail = []http.HandlerFunc{refuse(400, "InvalidParameterValueException")}
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
		if got, _ := a.sum(name); got != 1 {
			t.Errorf("%s: %v; want 1", name, got)
		}
	}
	if got, _ := a.sum("ActiveConnections"); got != 0 {
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
	if a.calls < 3 || a.zipped != a.calls {
		t.Errorf("%d calls, %d compressed", a.calls, a.zipped)
	}
	if _, n := a.sum("AverageLatencyMs"); n != gateways*300 {
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
	h.MessageIn("chat", 1)
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
