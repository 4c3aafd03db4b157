//go:build boreas_mutants

package link

import "os"

// Damage that test/chaos builds in, and must notice. BOREAS_MUTANT chooses it.
var (
	mutantDedupe = os.Getenv("BOREAS_MUTANT") == "dedupe" // delivers frames again that arrived before
	mutantNack   = os.Getenv("BOREAS_MUTANT") == "nack"   // ignores what the peer reports missing
)
