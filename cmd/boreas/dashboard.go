package main

import (
	"github.com/boreas-ws/boreas/pkg/metrics/dashboard"
)

type dashboardCmd struct {
	Grafana dashboardGrafanaCmd `cmd:"" help:"Print the dashboard for Grafana."`
}

type dashboardGrafanaCmd struct{}

// Run prints what Grafana imports.
func (dashboardGrafanaCmd) Run(p *process) error {
	_, err := p.stdout.Write(dashboard.Grafana())
	return err
}
