// Command chat runs one instance of the demo service.
//
//	go run ./examples/chat --redis redis://localhost:6379
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

	"github.com/boreas-ws/boreas/examples/chat/chat"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// flags are the settings: flags, else BOREAS_* variables, else defaults.
type flags struct {
	Redis           string        `default:"redis://localhost:6379" help:"Redis of the backplane: a redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// URL."`
	Namespace       string        `default:"boreas" help:"Tells systems apart that share a Redis."`
	NodeID          string        `placeholder:"ID" help:"Name of this process on the backplane. Default: random."`
	BackplaneKey    string        `placeholder:"KEY" help:"Key, of 16 bytes or more and the same on all nodes, that signs what nodes send to each other."`
	BackplaneKeyOld string        `placeholder:"KEY" help:"Key that is accepted from other nodes beside it, while keys are being replaced."`
	Service         string        `default:"chat" help:"Name of the service."`
	Gateways        []string      `placeholder:"NAME" help:"Gateways that route to this service. Default: all."`
	OnInstanceLoss  string        `default:"close" enum:"close,repin" help:"What becomes of a socket whose instance dies or stops: its client is closed with 1012, or its next message goes to another instance."`
	DrainTimeout    time.Duration `default:"10s" help:"After SIGTERM, time that handlers have to finish; negative for none."`
	MetricsListen   string        `placeholder:"HOST:PORT" help:"Where GET /metrics is served for Prometheus. Default: nowhere."`
	PageListen      string        `placeholder:"HOST:PORT" help:"Where the page that talks to the service is served, for a load balancer that sends /ws to gateways. Default: nowhere."`
}

// closeTimeout is how long the last frames may take to reach the gateways.
const closeTimeout = 2 * time.Second

func main() {
	var f flags
	kong.Parse(&f, kong.Name("chat"), kong.Description("One instance of the demo service of Boreas."), kong.DefaultEnvars("BOREAS"))

	// The first signal drains. After it signals have their usual effect, so a
	// second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, f, logger, os.Stdout); err != nil {
		logger.Error("chat ended", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then drains.
func run(ctx context.Context, f flags, logger *slog.Logger, stdout io.Writer) error {
	m := metrics.New()
	if f.MetricsListen != "" {
		go func() {
			if err := m.ListenAndServe(ctx, f.MetricsListen); err != nil {
				logger.Error("no metrics are served", "error", err)
			}
		}()
	}
	if f.PageListen != "" {
		stop, err := servePage(ctx, f.PageListen, logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	bp, err := backplane.Open(ctx, f.Redis, backplane.Config{
		Namespace: f.Namespace,
		NodeID:    wire.NodeID(f.NodeID),
		Key:       []byte(f.BackplaneKey),
		OldKey:    []byte(f.BackplaneKeyOld),
		Logger:    logger,
		Hooks:     m.Backplane(),
	})
	if err != nil {
		if ctx.Err() != nil { // stopped while Redis was away
			return nil
		}
		return err
	}
	s := service.New(f.Service, bp, chat.Router(), service.Config{
		Gateways:       f.Gateways,
		OnInstanceLoss: registry.Policy(f.OnInstanceLoss),
		DrainTimeout:   f.DrainTimeout,
		Logger:         logger,
		Hooks:          m.Service(f.Service),
	})
	err = s.Start(ctx)
	if err == nil {
		fmt.Fprintf(stdout, "%s is serving as %s\n", f.Service, bp.Self().Node)
		select {
		case <-ctx.Done():
		case <-bp.Done():
		}
		err = s.Stop(context.WithoutCancel(ctx))
	} else if ctx.Err() != nil { // stopped while it started
		err = nil
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, bp.Close(ending))
}
