package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/boreas-ws/boreas/internal/load"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// benchCmd measures gateways.
type benchCmd struct {
	Run   benchRunCmd   `cmd:"" default:"withargs" help:"Put WebSocket clients on gateways and measure what they see."`
	Serve benchServeCmd `cmd:"" help:"Run an instance of a service to send the load to: /bench/echo, and what --publish needs."`
}

// benchRunCmd puts load on gateways.
type benchRunCmd struct {
	URL         []string      `default:"ws://localhost:8080/ws" help:"Where to connect; connections are spread over them in turn." novar:"true"`
	Connections int           `default:"${bench_connections}" help:"Clients that send messages." novar:"true"`
	Idle        int           `default:"0" help:"Further clients that only keep a connection open." novar:"true"`
	Ramp        float64       `default:"${bench_ramp}" help:"Connections opened per second; negative for no limit." novar:"true"`
	Duration    time.Duration `default:"${bench_duration}" help:"How long to measure, from when all connections are open." novar:"true"`
	Warmup      time.Duration `default:"1s" help:"How long to send before that." novar:"true"`
	Window      int           `default:"${bench_window}" help:"Messages of a client that may wait for their answer." novar:"true"`
	Rate        float64       `default:"0" help:"Messages per second, of all clients together; 0 for as many as the window allows. Latency counts from when a message was due." novar:"true"`
	Size        int           `default:"${bench_size}" help:"Bytes of padding in a message." novar:"true"`
	Path        string        `default:"${bench_path}" help:"Where messages go." novar:"true"`
	Publish     bool          `help:"Measure pushes instead: all clients join a group of the service of 'bench serve', and the first publishes at --rate." novar:"true"`

	Token       string        `placeholder:"FILE" type:"existingfile" help:"A file with a JWT that signs in every client." novar:"true"`
	TicketURL   string        `placeholder:"URL" help:"Where tickets are made, such as http://localhost:9090/tickets; every client gets one of its own." novar:"true"`
	TicketKey   string        `placeholder:"FILE" type:"existingfile" help:"A file with the key of the internal listener." novar:"true"`
	Header      []string      `placeholder:"NAME:VALUE" sep:"none" help:"A header of the handshake; may be repeated." novar:"true"`
	Source      []string      `placeholder:"IP,..." help:"Local addresses to connect from, in turn: one has about 28,000 ports." novar:"true"`
	ReportEvery time.Duration `default:"0s" help:"How often each client reports its last latency to the gateway; 0 for never." novar:"true"`

	JSON  string `placeholder:"FILE" help:"Write the report as JSON; - for standard output in place of the text." novar:"true"`
	CSV   string `placeholder:"FILE" help:"Write a line for each second." novar:"true"`
	Chart string `placeholder:"FILE.svg" help:"Draw latency and throughput over time." novar:"true"`
	Quiet bool   `help:"No line per second on standard error." novar:"true"`
}

// benchDefaults are the variables that the tags above mention.
var benchDefaults = kong.Vars{
	"bench_connections": strconv.Itoa(load.DefaultConnections),
	"bench_ramp":        strconv.Itoa(load.DefaultRamp),
	"bench_duration":    load.DefaultDuration.String(),
	"bench_window":      strconv.Itoa(load.DefaultWindow),
	"bench_size":        strconv.Itoa(load.DefaultSize),
	"bench_path":        load.DefaultPath,
}

var errBench = errors.New("messages or connections were lost, refused or out of order")

// Run measures until the time is over or a signal comes, and reports.
func (c *benchRunCmd) Run(p *process) error {
	cfg, err := c.config()
	if err != nil {
		return usageError{err}
	}
	if !c.Quiet {
		cfg.Progress = func(point load.Point) {
			fmt.Fprintf(p.stderr, "%4.0f s  %8d sent  %8d answered  %5d errors  p50 %.2f ms  p99 %.2f ms  max %.2f ms\n",
				point.At, point.Sent, point.Received, point.Errors, point.Latency.P50, point.Latency.P99, point.Latency.Max)
		}
	}
	report, err := load.Run(p.ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON != "-" {
		if err := report.WriteText(p.stdout); err != nil {
			return err
		}
	}
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{{c.JSON, report.WriteJSON}, {c.CSV, report.WriteCSV}, {c.Chart, report.WriteSVG}} {
		if err := writeTo(p.stdout, out.path, out.write); err != nil {
			return err
		}
	}
	if !report.OK() {
		return errBench
	}
	return nil
}

// config puts the flags together.
func (c *benchRunCmd) config() (load.Config, error) {
	cfg := load.Config{
		Targets: c.URL, Connections: c.Connections, Idle: c.Idle, Ramp: c.Ramp, Duration: c.Duration, Warmup: c.Warmup,
		Window: c.Window, Rate: c.Rate, Size: c.Size, Path: c.Path, Header: http.Header{}, ReportLatency: c.ReportEvery,
		Publish: c.Publish,
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return cfg, fmt.Errorf("--header: %q is not NAME:VALUE", h)
		}
		cfg.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	for _, s := range c.Source {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return cfg, fmt.Errorf("--source: %w", err)
		}
		cfg.Sources = append(cfg.Sources, a)
	}
	if c.Chart != "" && filepath.Ext(c.Chart) != ".svg" {
		return cfg, fmt.Errorf("--chart: %q; the chart is an .svg", c.Chart)
	}
	token, err := readSecret(c.Token)
	if err != nil {
		return cfg, fmt.Errorf("--token: %w", err)
	}
	key, err := readSecret(c.TicketKey)
	if err != nil {
		return cfg, fmt.Errorf("--ticket-key: %w", err)
	}
	switch {
	case token != "" && c.TicketURL != "":
		return cfg, errors.New("--token and --ticket-url: choose one")
	case token != "":
		cfg.Credential = func(context.Context, int) (string, error) { return "boreas.jwt." + token, nil }
	case c.TicketURL != "":
		cfg.Credential = load.Tickets(c.TicketURL, key)
	}
	return cfg, nil
}

// readSecret reads a file that holds one line; "" for no file.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// writeTo has a report written to a file; - is standard output, "" nowhere.
func writeTo(stdout io.Writer, path string, write func(io.Writer) error) (err error) {
	switch path {
	case "":
		return nil
	case "-":
		return write(stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// benchServeCmd runs the service that load goes to.
type benchServeCmd struct {
	Redis     string `default:"redis://localhost:6379" help:"Redis of the backplane."`
	Namespace string `default:"boreas" help:"Tells systems apart that share a Redis."`
	NodeID    string `placeholder:"ID" help:"Name of this process on the backplane. Default: random."`
}

// Run serves until a signal.
func (c *benchServeCmd) Run(p *process) error {
	bp, err := backplane.Open(p.ctx, c.Redis, backplane.Config{Namespace: c.Namespace, NodeID: wire.NodeID(c.NodeID), Logger: p.logger})
	if err != nil {
		return err
	}
	err = service.New("bench", bp, load.Router(), service.Config{Logger: p.logger}).Run(p.ctx)
	if p.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, closeBackplane(bp))
}
