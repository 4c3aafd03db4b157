//go:build !boreas_mutants

package push

// The mutation that mutant_on.go describes: production code has none.
const mutantMute = ""
