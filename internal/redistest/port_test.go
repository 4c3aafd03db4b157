package redistest

import "testing"

// TestFreePort: every port is given once, also when those near the process are used up.
func TestFreePort(t *testing.T) {
	given := map[int]bool{}
	for range 1000 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] || port < 10_000 || port >= 30_000 {
			t.Fatalf("port %d", port)
		}
		given[port] = true
	}
}
