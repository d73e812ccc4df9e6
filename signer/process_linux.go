package signer

import (
	"runtime"
	"syscall"
)

// endWithParent has the kernel end the program when this process dies, even by
// SIGKILL: it would go on waiting for a device that nobody wants to hear of. The
// kernel does so when the thread ends that started it (PR_SET_PDEATHSIG in prctl(2)),
// so the goroutine keeps its thread until release.
func endWithParent(attributes *syscall.SysProcAttr) (release func()) {
	runtime.LockOSThread()
	attributes.Pdeathsig = syscall.SIGKILL
	return runtime.UnlockOSThread
}
