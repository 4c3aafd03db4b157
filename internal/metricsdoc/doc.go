// Package metricsdoc has the tests that hold documents about metrics against the
// code: docs/metrics.md is written by them, and no dashboard, alarm or document may
// name an instrument that does not exist. After a change:
//
//	go test ./internal/metricsdoc -update
package metricsdoc
