//go:build unix

package compose

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// alone waits until no other run of this test is at work on this machine: all give
// the same names to what they have on the engine.
func alone(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), project+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // and with it the lock is gone
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}
