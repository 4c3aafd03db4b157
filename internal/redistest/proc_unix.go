//go:build unix && !linux

package redistest

import "syscall"

const (
	stopSignal = syscall.SIGSTOP
	contSignal = syscall.SIGCONT
)

func endWithParent() *syscall.SysProcAttr { return nil }
