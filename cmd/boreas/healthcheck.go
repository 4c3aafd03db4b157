package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

type healthcheckCmd struct {
	InternalListen string        `default:"127.0.0.1:9090" help:"The gateway's --internal-listen."`
	Timeout        time.Duration `default:"3s" help:"How long to wait for the answer." novar:"true"`
	Live           bool          `help:"Ask only whether the process answers (/livez), for what restarts it when not." novar:"true"`
}

// Run succeeds when the gateway answers that it is ready, or with Live: at all.
func (c *healthcheckCmd) Run(p *process) error {
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	path, state := "/readyz", "ready"
	if c.Live {
		path, state = "/livez", "alive"
	}
	address, err := dialable(c.InternalListen)
	if err != nil {
		return usageError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("not %s: %w", state, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("not %s: %w", state, err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not %s: %s (%s)", state, text, resp.Status)
	}
	_, err = fmt.Fprintln(p.stdout, text)
	return err
}

// dialable turns an address to listen on into one to connect to on this machine.
func dialable(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--internal-listen: %w; want HOST:PORT", err)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}
