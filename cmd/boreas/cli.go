package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// The exit statuses, besides 0. A second signal ends the process with 128 and
// the signal's number, as a shell reports it.
const (
	exitFailure = 1 // the command ran and failed
	exitUsage   = 2 // the command line, or a setting, is wrong
	exitSignal  = 128
)

// cli is the command line: one field for each subcommand, whose flags stand in
// the file of that name.
type cli struct {
	EnvFile   string `name:"env-file" placeholder:"FILE" help:"Read settings from this file (NAME=value lines); flags and the environment override it."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Least severe log level that is written: debug, info, warn or error."`
	LogFormat string `enum:"text,json" default:"text" help:"Form of log lines on standard error: text or json."`

	Dev           devCmd           `cmd:"" help:"Run a whole system on this machine: gateways, chat service, a page to try it."`
	Gateway       gatewayCmd       `cmd:"" help:"Run a gateway: accept WebSocket clients and route their messages to services."`
	Push          pushCmd          `cmd:"" help:"Send a message to clients, wherever they are connected."`
	Sockets       socketsCmd       `cmd:"" help:"List sockets, of all gateways."`
	Kick          kickCmd          `cmd:"" help:"Close a socket, or all sockets of a user."`
	Ticket        ticketCmd        `cmd:"" help:"Print a one-shot ticket with which a client can connect as a user."`
	Healthcheck   healthcheckCmd   `cmd:"" help:"Ask a gateway on this machine whether it is ready; exit status 0 says yes."`
	Config        configCmd        `cmd:"" help:"Print the settings that the gateway command would run with, and where each comes from."`
	Bench         benchCmd         `cmd:"" help:"Measure gateways: run load, or a service to send it to."`
	Chaos         chaosCmd         `cmd:"" help:"Break Redis, nodes and networks under load, and check that nothing is lost, doubled or reordered."`
	ChaosInstance chaosInstanceCmd `cmd:"" hidden:""`
	Dashboard     dashboardCmd     `cmd:"" help:"Print dashboards of the metrics."`
	Version       versionCmd       `cmd:"" help:"Print the version of this program."`
}

// process is what a subcommand's Run gets: its surroundings.
type process struct {
	ctx      context.Context // ended by the first SIGINT or SIGTERM
	stdout   io.Writer
	stderr   io.Writer
	logger   *slog.Logger
	settings *settings
	exit     func(status int)
}

// endAfter ends the process that long after the first signal, should something
// hang. The function it returns undoes that, as long as no signal came.
func (p *process) endAfter(d time.Duration) (undo func() bool) {
	return context.AfterFunc(p.ctx, func() {
		time.AfterFunc(d, func() {
			p.logger.Error("stopping took too long; the process ends at once", "time", d)
			p.exit(exitFailure)
		})
	})
}

// run executes one command line and returns the exit status.
func run(args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	settings := newSettings(environ)
	status := -1 // set when kong itself ends the program, after --help
	parser, err := kong.New(&c,
		kong.Name("boreas"),
		kong.Description("A WebSocket API gateway for microservices, coordinated through Redis.\n\n"+
			"Every flag is also an environment variable: --drain-window is BOREAS_DRAIN_WINDOW. "+
			"A flag wins over the environment, the environment over --env-file, the file over the default."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { status = code; panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(helpWithVariable),
		kong.Resolvers(settings),
		gatewayDefaults,
		authDefaults,
		benchDefaults,
		kong.Bind(settings),
	)
	if err != nil {
		fmt.Fprintln(stderr, "boreas:", err)
		return exitFailure
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parse(parser, args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintln(stderr, "boreas:", settings.explain(err))
		fmt.Fprintln(stderr, "Run \"boreas --help\" for the commands and their flags.")
		return exitUsage
	}
	for _, warning := range settings.unknown(parser.Model) {
		fmt.Fprintln(stderr, "boreas: warning:", warning)
	}

	logger := newLogger(stderr, c.LogLevel, c.LogFormat)
	ctx, stop := untilSignal(logger, os.Exit)
	defer stop()
	err = command.Run(&process{ctx: ctx, stdout: stdout, stderr: stderr, logger: logger, settings: settings, exit: os.Exit})
	if err != nil {
		fmt.Fprintln(stderr, "boreas:", err)
		if _, ok := errors.AsType[usageError](err); ok {
			return exitUsage
		}
		return exitFailure
	}
	return 0
}

// usageError marks an error of [cli] commands as the fault of a setting.
type usageError struct{ error }

// Unwrap gives the error itself.
func (e usageError) Unwrap() error { return e.error }

// exited carries kong's exit call back to [parse]: kong expects not to return
// from it.
type exited struct{}

func parse(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
		}
	}()
	return parser.Parse(args)
}

// untilSignal gives a context that the first SIGINT or SIGTERM ends. The second
// one ends the process at once. stop gives signals their usual meaning back.
func untilSignal(logger *slog.Logger, exit func(int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			logger.Info("stopping; a second signal ends the process at once", "signal", s.String())
			cancel()
		case <-done:
			return
		}
		select {
		case s := <-signals:
			number, _ := s.(syscall.Signal)
			exit(exitSignal + int(number))
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// newLogger writes to w in the form and from the level that the flags name.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // the flag's enum allows known names only
	}
	opts := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
