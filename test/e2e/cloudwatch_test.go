package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatchtest"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// reported is what CloudWatch got of a metric: values, and how often each came.
type reported map[float64]float64

func (r reported) sum() (sum, count float64) {
	for v, n := range r {
		sum += v * n
		count += n
	}
	return sum, count
}

// quantile is the value below which that part of all values is.
func (r reported) quantile(q float64) float64 {
	_, total := r.sum()
	seen := 0.0
	for _, v := range slices.Sorted(maps.Keys(r)) {
		if seen += r[v]; seen >= q*total {
			return v
		}
	}
	return math.NaN()
}

// converse sends requests on a client of each URL, n in all, and waits for each reply.
func converse(t *testing.T, n int, urls ...string) {
	t.Helper()
	const clients = 20
	failed := make(chan error, clients)
	for i := range clients {
		c := dial(t, urls[i%len(urls)], nil)
		go func() {
			var err error
			for k := 0; k < n/clients && err == nil; k++ {
				id := fmt.Sprint(k)
				err = c.ws.WriteMessage(1, []byte(`{"path":"/echo","id":"`+id+`","data":"some text"}`))
				var a answer
				if err == nil {
					a, err = c.tryRead(patience)
				}
				if err == nil && a.ID != id {
					err = fmt.Errorf("reply %q to request %s", a.ID, id)
				}
			}
			_ = c.ws.Close()
			failed <- err
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloudWatchEqualsPrometheus: two gateways carry 10,000 messages while they report
// to CloudWatch every second. What CloudWatch was told adds up to what Prometheus
// reads, to the message; and so does every bucket of the latency.
func TestCloudWatchEqualsPrometheus(t *testing.T) {
	for _, mode := range []string{"api", "emf"} {
		t.Run(mode, func(t *testing.T) {
			server := cloudwatchtest.New(t)
			s := startSystem(t, 0, 2)
			s.env = server.Env
			for i := range 2 {
				s.addGateway(t, fmt.Sprintf("gw-%d", i), "--cloudwatch", "--cloudwatch-interval", "1s", "--cloudwatch-mode", mode,
					"--cloudwatch-region", "eu-central-1", "--cloudwatch-endpoint", server.URL, "--drain-window", "1ms")
			}
			got := func(metric string) reported { return server.Values(metric) }
			if mode == "emf" {
				got = s.emf
			}
			urls := []string{s.gateways[0].URL(), s.gateways[1].URL()}
			converse(t, 4000, urls...)
			eventually(t, patience, func() string { // an interval ends in between
				if n, _ := got("MessagesTotal").sum(); n != 4000 {
					return fmt.Sprintf("%v messages were reported", n)
				}
				return ""
			})
			converse(t, 6000, urls...)
			misbehave(t, urls...)
			eventually(t, patience, func() string {
				if open := s.total(t, "boreas_gateway_sockets", "", nil, nil); open != 0 {
					return fmt.Sprintf("%v sockets are open", open)
				}
				return ""
			})

			prometheus := map[string]float64{}
			for _, m := range cloudwatch.Metrics {
				for _, source := range m.Sources {
					prometheus[m.Name] += s.total(t, source.Instrument, source.Label, source.Of, source.Except)
				}
			}
			latency := s.buckets(t, "boreas_gateway_request_duration_seconds")
			for _, g := range s.gateways { // the last report comes with the end
				if err := g.Terminate(); err != nil {
					t.Fatal(err)
				}
				if err := g.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for name, least := range map[string]float64{
				"MessagesTotal": 10_000, "MessagesDelivered": 10_000, "MessageCount": 20_000, "ConnectCount": 42,
				"ClientError": 4, "UnexpectedDisconnects": 2,
				"IntegrationError": 0, "ExecutionError": 0, "DroppedMessages": 0,
			} {
				sum, _ := got(name).sum()
				if sum != prometheus[name] || sum < least {
					t.Errorf("%s: CloudWatch was told %v, Prometheus %v; want at least %v", name, sum, prometheus[name], least)
				}
			}
			compareLatencies(t, got("AverageLatencyMs"), latency)
		})
	}
}

// misbehave does to each gateway what is counted as an error: a request to a path that
// nobody serves, an end without a close frame, and a handshake that is none.
func misbehave(t *testing.T, urls ...string) {
	t.Helper()
	for _, url := range urls {
		c := dial(t, url, nil)
		c.fails("/nowhere", nil, wire.CodeNoRoute)
		c.whoami()
		if err := c.ws.NetConn().Close(); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+url[2:], http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

// compareLatencies holds the values that CloudWatch got, in milliseconds, against the
// native buckets of Prometheus.
func compareLatencies(t *testing.T, got reported, buckets map[int]float64) {
	t.Helper()
	const off = 1.0454 // half of a bucket, as a factor: 2^(1/16), and rounding
	want := reported{}
	for index, n := range buckets {
		want[math.Exp2((float64(index)-0.5)/8)*1000] += n
	}
	_, count := want.sum()
	if _, n := got.sum(); n != count || n < 100 {
		t.Errorf("CloudWatch got %v latencies, Prometheus %v", n, count)
	}
	for _, q := range []float64{0.5, 0.9, 0.99} {
		ours, theirs := got.quantile(q), want.quantile(q)
		if !(ours < theirs*off && ours > theirs/off) {
			t.Errorf("quantile %v: %v ms in CloudWatch, %v ms in Prometheus", q, ours, theirs)
		}
	}
}

// TestCloudWatchOutage: a CloudWatch that does not answer is not felt by clients, nor
// does it keep a gateway from ending; and what happened meanwhile is reported later.
func TestCloudWatchOutage(t *testing.T) {
	server := cloudwatchtest.New(t)
	over, gone := make(chan struct{}), make(chan struct{})
	defer close(gone)
	silent := func(until chan struct{}) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-until:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}
	}
	server.Refuse(silent(over))
	s := startSystem(t, 0, 1)
	s.env = server.Env
	g := s.addGateway(t, "gw", "--cloudwatch", "--cloudwatch-interval", "1s", "--cloudwatch-region", "eu-central-1",
		"--cloudwatch-endpoint", server.URL, "--drain-window", "1ms")
	converse(t, 1000, g.URL())
	eventually(t, patience, func() string {
		if server.Asked() == 0 {
			return "CloudWatch was not asked"
		}
		return ""
	})
	converse(t, 1000, g.URL())
	if n, _ := server.Sum("MessagesTotal"); n != 0 {
		t.Fatalf("CloudWatch was told of %v messages before it answered", n)
	}
	close(over)
	eventually(t, patience, func() string {
		if n, _ := server.Sum("MessagesTotal"); n != 2000 {
			return fmt.Sprintf("CloudWatch was told of %v messages; want 2000", n)
		}
		return ""
	})

	server.Refuse(slices.Repeat([]http.HandlerFunc{silent(gone)}, 100)...)
	asked := server.Asked()
	eventually(t, patience, func() string {
		if server.Asked() == asked {
			return "CloudWatch was not asked again"
		}
		return ""
	})
	start := time.Now()
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("with a CloudWatch that does not answer, the gateway took %v to end", took)
	}
}

// emf reads what gateways have written about a metric in the embedded metric format.
func (s *system) emf(metric string) reported {
	got := reported{}
	for _, g := range s.gateways {
		for _, line := range g.Events() {
			var values map[string]json.RawMessage
			if json.Unmarshal([]byte(line), &values) != nil || values["_aws"] == nil || values[metric] == nil {
				continue
			}
			var many struct{ Values, Counts []float64 }
			var one float64
			if json.Unmarshal(values[metric], &one) == nil {
				got[one]++
			} else if json.Unmarshal(values[metric], &many) == nil {
				for i, v := range many.Values {
					got[v] += many.Counts[i]
				}
			}
		}
	}
	return got
}

// total adds up what Prometheus reads of an instrument from all gateways: those of its
// series whose label has one of some values (nil: any), and none of others.
func (s *system) total(t *testing.T, instrument, label string, of, except []string) (sum float64) {
	t.Helper()
	for _, g := range s.gateways {
		for _, m := range scrape(t, g)[instrument].GetMetric() {
			value := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					value = l.GetValue()
				}
			}
			if label == "" || !slices.Contains(except, value) && (of == nil || slices.Contains(of, value)) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// buckets adds up the native buckets of a histogram, by their index: the upper bound
// is 2^(index/8).
func (s *system) buckets(t *testing.T, histogram string) map[int]float64 {
	t.Helper()
	all := map[int]float64{}
	for _, g := range s.gateways {
		for _, m := range scrape(t, g)[histogram].GetMetric() {
			addBuckets(all, m.GetHistogram())
		}
	}
	return all
}

func addBuckets(all map[int]float64, h *dto.Histogram) {
	index, count, delta := 0, int64(0), h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		index += int(span.GetOffset())
		for range span.GetLength() {
			count += delta[0]
			delta = delta[1:]
			all[index] += float64(count)
			index++
		}
	}
}
