// Package cloudwatch tells Amazon CloudWatch what package metrics has counted: by
// the API (PutMetricData), or as structured log lines (the embedded metric format)
// that the agent or a log driver turns into metrics without any call.
//
//	e, err := cloudwatch.New(ctx, m, cloudwatch.Config{Cluster: "boreas"})
//	go e.Run(ctx)
//
// Counts are those since the last report, latencies are histograms (Values and
// Counts), so that CloudWatch can make percentiles of several gateways. Reports
// that cannot be sent are kept and sent later, up to a bound; the oldest are dropped
// first, with a warning. All of this happens in the goroutine of Run: messages never
// wait for it.
package cloudwatch
