package cluster

import "syscall"

// endWithParent asks the kernel to kill the process when its parent ends.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
