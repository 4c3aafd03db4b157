package main

import (
	"time"
)

type gatewayFlags struct {
	Listen         string        `default:":8080" help:"Where clients connect: HOST:PORT."`
	Path           string        `default:"/ws" help:"The URL path of the WebSocket endpoint."`
	Name           string        `default:"public" help:"The gateway's name, shared by its replicas; services announce their routes to names."`
	Redis          string        `default:"redis://localhost:6379" help:"The Redis of the backplane: redis://, rediss:// (TLS) or unix://."`
	InternalListen string        `default:"127.0.0.1:9090" help:"Where /livez, /readyz and /debug/pprof are served. Keep it away from clients."`
	DrainWindow    time.Duration `default:"10s" help:"After SIGTERM, the time over which connections are closed."`
}

type gatewayCmd struct {
	gatewayFlags `embed:""`
}

func (c *gatewayCmd) Run(p *process) error { return nil }
