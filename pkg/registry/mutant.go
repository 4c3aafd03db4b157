//go:build !boreas_mutants

package registry

// The mutations that mutant_on.go describes: production code has none.
const (
	mutantReap  = false
	mutantFence = false
	mutantMarks = false
)
