package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/boreas-ws/boreas/examples/chat/chat"
)

// servePage serves the page at address until the function that it returns is
// called.
func servePage(ctx context.Context, address string, logger *slog.Logger) (stop func(), err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--page-listen: %w", err)
	}
	server := &http.Server{
		Handler:           chat.Page(),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the page is not served any more", "error", err)
		}
	}()
	return func() {
		_ = server.Close()
		<-ended
	}, nil
}
