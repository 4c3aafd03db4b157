package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// reachTimeout bounds one question whether Redis is there.
const reachTimeout = 2 * time.Second

// Reach waits until Redis answers, or ctx ends, and logs why it has to wait. It
// returns at once when waiting cannot help: when Redis refuses the user or password,
// or its certificate is not trusted. The error names the URL without its password.
func (t *Topology) Reach(ctx context.Context, log *slog.Logger) error {
	client := t.NewClient(ctx)
	defer func() { _ = client.Close() }()
	var why error
	for failures := 0; ; failures++ {
		err := ping(ctx, client)
		if err == nil {
			return nil
		}
		if why == nil || !over(ctx) { // an attempt that ctx cut short says nothing about Redis
			why = err
		}
		if untrusted := new(tls.CertificateVerificationError); errors.As(err, &untrusted) {
			return fmt.Errorf("%s: %w", t, err)
		}
		if redis.IsAuthError(err) || redis.IsPermissionError(err) {
			return fmt.Errorf("%s refuses access: %w", t, err)
		}
		if failures == 0 {
			log.Warn("waiting for Redis", "redis", t, "err", err)
		}
		if !backoff(ctx, failures) {
			return fmt.Errorf("%s cannot be reached: %w (%w)", t, why, context.Cause(ctx))
		}
	}
}

// over reports whether ctx has ended, or is about to: a connection may notice the
// deadline of ctx before ctx does.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

func ping(ctx context.Context, client redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	return client.Ping(ctx).Err()
}
