package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"github.com/boreas-ws/boreas/pkg/backplane"
)

// Server is an in-process Redis-compatible server on a free port of 127.0.0.1.
type Server struct{ mini *miniredis.Miniredis }

// StartServer starts a server. The caller closes it.
func StartServer() (*Server, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // keys expire by the clock, as in Redis
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("embedded: start the server: %w", err)
	}
	return &Server{mini: m}, nil
}

// URL is the server's address, for [backplane.Open].
func (s *Server) URL() string { return "redis://" + s.mini.Addr() }

// Close ends the server and all connections to it.
func (s *Server) Close() { s.mini.Close() }

// Open opens a backplane on a server of its own; closing the backplane ends both. At
// most one cfg may be given.
func Open(ctx context.Context, cfg ...backplane.Config) (*backplane.Backplane, error) {
	var c backplane.Config
	switch len(cfg) {
	case 0:
	case 1:
		c = cfg[0]
	default:
		return nil, errors.New("embedded: Open takes one configuration at most")
	}
	srv, err := StartServer()
	if err != nil {
		return nil, err
	}
	closed := c.Hooks.Closed
	c.Hooks.Closed = func() {
		srv.Close()
		if closed != nil {
			closed()
		}
	}
	bp, err := backplane.Open(ctx, srv.URL(), c)
	if err != nil {
		srv.Close() // if the backplane did not come so far
		return nil, err
	}
	return bp, nil
}
