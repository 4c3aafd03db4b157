//go:build !unix

package redistest

import "syscall"

// Systems without job control refuse these signals with a clear error of their own.
const (
	stopSignal = syscall.Signal(0x13)
	contSignal = syscall.Signal(0x12)
)

func endWithParent() *syscall.SysProcAttr { return nil }
