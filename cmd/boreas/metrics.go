package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
)

// metricsFlags are the settings of what a gateway tells of itself.
type metricsFlags struct {
	Metrics bool `default:"true" negatable:"" help:"Serve GET /metrics for Prometheus on the internal listener. Without it and --cloudwatch, nothing is counted."`

	Cloudwatch           bool              `help:"Report to Amazon CloudWatch."`
	CloudwatchMode       string            `enum:"api,emf" default:"api" help:"api calls PutMetricData; emf writes log lines in the embedded metric format to standard output."`
	CloudwatchNamespace  string            `default:"Boreas" help:"Namespace of the metrics in CloudWatch."`
	CloudwatchInterval   time.Duration     `default:"1m" help:"Time between two reports."`
	CloudwatchRegion     string            `placeholder:"REGION" help:"Region of CloudWatch. Default: as for every program of AWS."`
	CloudwatchEndpoint   string            `placeholder:"URL" help:"Endpoint of CloudWatch. Default: that of the region."`
	CloudwatchDimensions map[string]string `placeholder:"NAME=VALUE;..." help:"Dimensions beside Cluster (the namespace of the backplane) and Gateway (the name)."`
}

// instruments are those of the process; nil if nobody looks at them.
func (f *metricsFlags) instruments() *metrics.Metrics {
	if !f.Metrics && !f.Cloudwatch {
		return nil
	}
	return metrics.New()
}

// mounts is what the internal listener serves of m.
func (f *metricsFlags) mounts(m *metrics.Metrics) []mount {
	if !f.Metrics {
		return nil
	}
	return []mount{{pattern: "GET /metrics", handler: m.Handler()}}
}

// report reports to CloudWatch, if it shall, until the function that it returns is
// called, which waits for the last report.
func (c *gatewayCmd) report(p *process, m *metrics.Metrics) (stop func(), err error) {
	if !c.Cloudwatch {
		return func() {}, nil
	}
	config := cloudwatch.Config{
		Namespace: c.CloudwatchNamespace, Cluster: c.Namespace, Owner: cloudwatch.Dimension{Name: "Gateway", Value: c.Name},
		Interval: c.CloudwatchInterval, Region: c.CloudwatchRegion, Endpoint: c.CloudwatchEndpoint, Logger: p.logger,
	}
	for _, name := range slices.Sorted(maps.Keys(c.CloudwatchDimensions)) {
		config.Dimensions = append(config.Dimensions, cloudwatch.Dimension{Name: name, Value: c.CloudwatchDimensions[name]})
	}
	if c.CloudwatchMode == "emf" {
		config.EMF = p.stdout
	}
	e, err := cloudwatch.New(p.ctx, m, config)
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.ctx))
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	return func() { cancel(); <-done }, nil
}
