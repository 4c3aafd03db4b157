// Command instance runs one instance of the probe service.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/boreas-ws/boreas/test/probe"
)

func main() {
	var o probe.Options
	kong.Parse(&o)
	if !run(o) {
		os.Exit(1)
	}
}

func run(o probe.Options) bool {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := probe.Run(ctx, o, os.Stdout, log); err != nil {
		log.Error("the probe ended", "err", err)
		return false
	}
	return true
}
