package main

import (
	"github.com/boreas-ws/boreas/pkg/metrics"
)

// metricsFlags are the settings of what a gateway tells of itself.
type metricsFlags struct {
	Metrics bool `default:"true" negatable:"" help:"Serve GET /metrics for Prometheus on the internal listener."`
}

// mounts is what the internal listener serves of m.
func (f *metricsFlags) mounts(m *metrics.Metrics) []mount {
	if !f.Metrics {
		return nil
	}
	return []mount{{"GET /metrics", m.Handler()}}
}
