package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// tlsReload is how often the files of the certificate are looked at.
const tlsReload = 10 * time.Second

// certificate is that of the public listener, read again when its files change.
type certificate struct {
	cert, key string // files
	logger    *slog.Logger
	current   atomic.Pointer[tls.Certificate]
	read      [2]time.Time // when the files were changed that current, or a broken one, is from
}

// newCertificate reads the files for the first time; nil without any.
func newCertificate(cert, key string, logger *slog.Logger) (*certificate, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil //nolint:nilnil // there is no TLS
	case cert == "" || key == "":
		return nil, errors.New("--tls-cert and --tls-key belong together")
	}
	c := &certificate{cert: cert, key: key, logger: logger}
	c.read = c.changed()
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return c, nil
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.current.Store(&pair)
	}
	return err
}

// changed is when the files were changed last; zero for one that is not there.
func (c *certificate) changed() (at [2]time.Time) {
	for i, name := range [...]string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

// check reads the files again if they have changed. The old certificate stays while
// the new one is broken.
func (c *certificate) check() {
	at := c.changed()
	if at == c.read {
		return
	}
	c.read = at
	if err := c.load(); err != nil {
		c.logger.Error("the TLS certificate has changed and cannot be used; the old one stays", "error", err)
		return
	}
	c.logger.Info("the TLS certificate was read again")
}

// watch checks until ctx ends.
func (c *certificate) watch(ctx context.Context) {
	tick := time.NewTicker(tlsReload)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.check()
		case <-ctx.Done():
			return
		}
	}
}

// config speaks HTTP/1.1 only: a WebSocket is opened with nothing else here.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
