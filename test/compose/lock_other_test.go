//go:build !unix

package compose

import "testing"

// alone cannot see other runs here.
func alone(*testing.T) {}
