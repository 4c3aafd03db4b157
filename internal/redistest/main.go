package redistest

import (
	"context"
	"fmt"
	"os"
)

// Main runs a package's tests (m is a *testing.M) beside a server of their own, which it
// stores in shared. leaks, such as goleak.Find, is asked after them. TestMain exits with
// its result.
func Main(m interface{ Run() int }, shared **Server, leaks func() error) int {
	server, err := Run(context.Background(), Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*shared = server
	code := m.Run()
	_ = server.Close() // nobody needs it any more
	if code != 0 {
		return code
	}
	if err := leaks(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
