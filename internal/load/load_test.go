package load

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is what the server of these tests gets.
type request struct {
	ID   string  `json:"id"`
	Path string  `json:"path"`
	Data payload `json:"data"`
}

// serve starts a WebSocket server that answers with what answer returns. A nil
// answer closes the connection.
func serve(t *testing.T, answer func(request) []string) (url string) {
	t.Helper()
	upgrader := websocket.Upgrader{Subprotocols: []string{"velaros-json"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			var in request
			if ws.ReadJSON(&in) != nil {
				return
			}
			answers := answer(in)
			if answers == nil {
				_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseServiceRestart, ""))
				return
			}
			for _, a := range answers {
				if ws.WriteMessage(websocket.TextMessage, []byte(a)) != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func ok(r request) string { return fmt.Sprintf(`{"id":"%s","data":{"n":%d}}`, r.ID, r.Data.N) }

// short is a run that ends soon; what is missing then is lost at once.
func short(url string) Config {
	return Config{
		Targets: []string{url}, Connections: 4, Ramp: -1, Duration: 200 * time.Millisecond,
		Rate: 400, Window: 4, LostAfter: 100 * time.Millisecond,
	}
}

func run(t *testing.T, cfg Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEchoIsClean(t *testing.T) {
	cfg := short(serve(t, func(r request) []string { return []string{ok(r)} }))
	cfg.Idle, cfg.LostAfter = 6, 20*time.Second
	r := run(t, cfg)
	if !r.OK() || r.Opened != 10 || r.Sent == 0 || r.Received != r.Sent {
		t.Errorf("a faultless server: %+v", r)
	}
	if r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 {
		t.Errorf("latency: %+v", r.Latency)
	}
}

func TestClosedLoopKeepsToTheWindow(t *testing.T) {
	waiting := make(chan request, 100)
	cfg := short(serve(t, func(r request) []string { waiting <- r; return []string{} }))
	cfg.Connections, cfg.Rate, cfg.Window, cfg.Duration, cfg.LostAfter = 1, 0, 3, 2*time.Second, 2*time.Second
	r := run(t, cfg)
	if r.Sent != 3 || len(waiting) != 3 || r.Lost != 3 || r.OK() {
		t.Errorf("sent %d, arrived %d, lost %d; want the window, 3", r.Sent, len(waiting), r.Lost)
	}
}

// TestSizeAndRamp: messages are as large as was asked for, and connections are opened
// at the rate that was.
func TestSizeAndRamp(t *testing.T) {
	cfg := short(serve(t, func(r request) []string {
		if len(r.Data.Pad) != 1000 {
			return nil
		}
		return []string{ok(r)}
	}))
	cfg.Size, cfg.Connections, cfg.Ramp, cfg.Duration, cfg.LostAfter = 1000, 11, 20, 50*time.Millisecond, 20*time.Second
	start := time.Now()
	if r := run(t, cfg); !r.OK() || r.Sent == 0 {
		t.Errorf("%+v", r)
	}
	if took := time.Since(start); took < 500*time.Millisecond { // the last of 11 at 20 a second
		t.Errorf("it was over after %v", took)
	}
}

// TestOracles has a server do what a gateway must not, and looks whether it is
// noticed.
func TestOracles(t *testing.T) {
	tests := []struct {
		name   string
		answer func(request) []string
		wrong  func(*Report) bool
	}{
		{"lost", func(r request) []string {
			if r.Data.N == 2 {
				return []string{}
			}
			return []string{ok(r)}
		}, func(r *Report) bool { return r.Lost == 4 }},
		{"twice", func(r request) []string { return []string{ok(r), ok(r)} },
			func(r *Report) bool { return r.Extra > 0 && r.Received == r.Sent }},
		{"swapped", func() func(request) []string {
			held := make(chan request, 1)
			return func(r request) []string {
				select {
				case held <- r:
					return []string{}
				default:
					return []string{ok(r), ok(<-held)}
				}
			}
		}(), func(r *Report) bool { return r.Reordered > 0 }},
		{"an error", func(r request) []string {
			return []string{fmt.Sprintf(`{"id":"%s","data":{"error":"no","code":"no_route"}}`, r.ID)}
		}, func(r *Report) bool { return r.Errors["no_route"] == r.Sent && r.Received == 0 && r.Lost == 0 }},
		{"not an envelope", func(r request) []string { return []string{"?", ok(r)} },
			func(r *Report) bool { return r.Extra > 0 }},
		{"closed", func(request) []string { return nil },
			func(r *Report) bool { return r.Closed[websocket.CloseServiceRestart] == 4 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := short(serve(t, test.answer))
			switch test.name {
			case "swapped":
				cfg.Connections = 1 // the swap is per connection
			case "lost", "closed": // every connection must get that far, and no other answer be late
				cfg.Duration, cfg.LostAfter = 2*time.Second, 3*time.Second
			case "twice", "an error": // nothing stays away
				cfg.LostAfter = 20 * time.Second
			}
			if r := run(t, cfg); !test.wrong(r) || r.OK() {
				t.Errorf("not noticed: %+v", r)
			}
		})
	}
}

// TestLatencyCountsFromWhenItWasDue has the server stop once: what could not be
// sent meanwhile was late as well.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	const stop = 300 * time.Millisecond
	stopped := false
	cfg := short(serve(t, func(r request) []string {
		if !stopped {
			stopped = true
			<-time.After(stop)
		}
		return []string{ok(r)}
	}))
	cfg.Connections, cfg.Rate, cfg.Window, cfg.Duration, cfg.LostAfter = 1, 100, 1, 3*time.Second, 20*time.Second
	r := run(t, cfg)
	late := 0
	for _, b := range r.latencies.CumulativeDistribution() {
		if b.ValueAt < stop.Microseconds()/3 {
			late = int(r.Received - b.Count)
		}
	}
	if late < 10 {
		t.Errorf("%d messages were late of those that were due in a stop of %v: %+v", late, stop, r.Latency)
	}
}

func TestRefusedConnectionsAreCounted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "full", http.StatusServiceUnavailable)
	}))
	defer s.Close()
	good := serve(t, func(r request) []string { return []string{ok(r)} })
	cfg := short("ws" + strings.TrimPrefix(s.URL, "http"))
	if _, err := Run(t.Context(), cfg); !errors.Is(err, websocket.ErrBadHandshake) {
		t.Errorf("all refused: %v", err)
	}
	cfg.Targets = append(cfg.Targets, good)
	if r := run(t, cfg); r.Refused["503 Service Unavailable"] != 2 || r.Opened != 2 || r.OK() {
		t.Errorf("half refused: %+v", r)
	}
}

func TestCredentialsAndSources(t *testing.T) {
	protocols := make(chan []string, 10)
	from := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tickets" {
			var in struct{ User string }
			if json.NewDecoder(r.Body).Decode(&in) != nil || r.Header.Get("Authorization") != "Bearer k" {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, `{"ticket":"for-%s"}`, in.User)
			return
		}
		protocols <- websocket.Subprotocols(r)
		from <- r.RemoteAddr
		http.Error(w, "enough", http.StatusForbidden)
	}))
	defer s.Close()
	cfg := short("ws" + strings.TrimPrefix(s.URL, "http"))
	cfg.Connections = 1
	cfg.Credential = Tickets(s.URL+"/tickets", "k")
	cfg.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.9")}
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Fatal("a refused handshake is no error")
	}
	if got := strings.Join(<-protocols, " "); got != "velaros-json boreas.ticket.for-bench-0" {
		t.Errorf("subprotocols: %q", got)
	}
	if got := <-from; !strings.HasPrefix(got, "127.0.0.9:") {
		t.Errorf("connected from %s", got)
	}
	cfg.Credential = Tickets(s.URL+"/tickets", "wrong")
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a refused ticket: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	_, err := Run(t.Context(), Config{Targets: []string{"http://x"}, Connections: -1, Rate: -1, Path: "x", Publish: true})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"ws://", "connections", "rate", "path", "publishing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not mention %s", err, want)
		}
	}
}

func TestInterrupt(t *testing.T) {
	cfg := short(serve(t, func(r request) []string { return []string{ok(r)} }))
	cfg.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(Point) { cancel() }
	r, err := Run(ctx, cfg)
	if err != nil || r.Sent == 0 || r.Seconds > 60 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOutputs(t *testing.T) {
	cfg := short(serve(t, func(r request) []string { return []string{ok(r)} }))
	cfg.LostAfter = 20 * time.Second
	r := run(t, cfg)
	var text, table, chart, report bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteCSV(&table), r.WriteSVG(&chart), r.WriteJSON(&report)); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d sent, %d answered", r.Sent, r.Received); !strings.Contains(text.String(), want) {
		t.Errorf("text without %q:\n%s", want, &text)
	}
	if lines := strings.Count(table.String(), "\n"); lines != 1+len(r.Points) {
		t.Errorf("CSV has %d lines for %d points", lines, len(r.Points))
	}
	var back Report
	if err := json.Unmarshal(report.Bytes(), &back); err != nil || back.Sent != r.Sent || len(back.Points) != len(r.Points) {
		t.Errorf("JSON: %v, %s", err, &report)
	}
	for d := xml.NewDecoder(&chart); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.2: 2, 2.2: 2.5, 7: 10, 4100: 5000} {
		if got := round(v); got != want {
			t.Errorf("round(%v) = %v; want %v", v, got, want)
		}
	}
}
