//go:build boreas_mutants

package registry

import "os"

// Damage that test/chaos builds in, and must notice. BOREAS_MUTANT chooses it.
var (
	mutantReap  = os.Getenv("BOREAS_MUTANT") == "reap"  // leaves the dead in Redis
	mutantFence = os.Getenv("BOREAS_MUTANT") == "fence" // lets a gateway without a lease pin
	mutantMarks = os.Getenv("BOREAS_MUTANT") == "marks" // believes Redis that it has all users and groups
)
