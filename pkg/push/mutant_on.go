//go:build boreas_mutants

package push

import "os"

// Damage that test/chaos builds in, and must notice: gateways whose nodes' names begin
// so take pushes and deliver none.
var mutantMute = map[string]string{"mute": "gw1-"}[os.Getenv("BOREAS_MUTANT")]
