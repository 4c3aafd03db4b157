package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/test/probe"
)

// readyPoll is how often a starting gateway is asked whether it is ready.
const readyPoll = 20 * time.Millisecond

// Gateway is a running gateway process.
type Gateway struct {
	*Process
	Addr     string // of the public listener, host:port
	Internal string // of the internal listener, host:port
}

// URL is where clients connect.
func (g *Gateway) URL() string { return "ws://" + g.Addr + "/ws" }

// Ready asks /readyz.
func (g *Gateway) Ready(ctx context.Context) bool {
	_, err := g.ask(ctx, "/readyz")
	return err == nil
}

// Metric asks /metrics, and returns the sum over all series of one name.
func (g *Gateway) Metric(ctx context.Context, name string) (sum float64, err error) {
	text, err := g.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if labeled, _, _ := strings.Cut(series, "{"); !ok || labeled != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		sum += v
	}
	return sum, nil
}

// ask sends a GET to the internal listener and returns the body. A status other than
// 200 is an error.
func (g *Gateway) ask(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Internal+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", path, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// StartGateway runs `boreas gateway` on free ports and returns when it is ready.
// args are further flags.
func (p Programs) StartGateway(ctx context.Context, name, redisURL string, args ...string) (*Gateway, error) {
	public, err := redistest.FreePort()
	if err != nil {
		return nil, err
	}
	internal, err := redistest.FreePort()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		Addr:     "127.0.0.1:" + strconv.Itoa(public),
		Internal: "127.0.0.1:" + strconv.Itoa(internal),
	}
	args = append([]string{"gateway", "--listen", g.Addr, "--internal-listen", g.Internal,
		"--redis", redisURL, "--node-id", name}, args...)
	if g.Process, err = Start(name, p.Boreas, p.Env, args...); err != nil {
		return nil, err
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for !g.Ready(ctx) {
		select {
		case <-tick.C:
		case <-g.Exited():
			return nil, fmt.Errorf("gateway %s ended:\n%s", name, g.Log())
		case <-ctx.Done():
			_ = g.Kill()
			return nil, fmt.Errorf("gateway %s is not ready: %w; its log:\n%s", name, ctx.Err(), g.Log())
		}
	}
	return g, nil
}

// ParseEvents decodes the lines of a probe's standard output. Lines that are not
// events are left out.
func ParseEvents(lines []string) []probe.Event {
	events := make([]probe.Event, 0, len(lines))
	for _, line := range lines {
		var e probe.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Event != "" {
			events = append(events, e)
		}
	}
	return events
}

// Probe is a running instance of the probe service.
type Probe struct{ *Process }

// Seen returns the events so far.
func (p *Probe) Seen() []probe.Event { return ParseEvents(p.Events()) }

// StartProbe runs an instance of the probe service and returns when it serves.
// args are further flags.
func (p Programs) StartProbe(ctx context.Context, name, redisURL string, args ...string) (*Probe, error) {
	flags := slices.Concat(p.Probe[1:], []string{"--redis", redisURL, "--node-id", name}, args)
	proc, err := Start(name, p.Probe[0], p.Env, flags...)
	if err != nil {
		return nil, err
	}
	serving := func(lines []string) bool {
		events := ParseEvents(lines)
		return len(events) > 0 && events[0].Event == "serving"
	}
	if err := proc.Await(ctx, serving); err != nil {
		_ = proc.Kill()
		return nil, err
	}
	return &Probe{proc}, nil
}
