//go:build !boreas_mutants

package link

// The mutations that mutant_on.go describes: production code has none.
const (
	mutantDedupe = false
	mutantNack   = false
)
