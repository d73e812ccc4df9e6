package process

import (
	"runtime"
	"syscall"
)

// thread is the thread that starts a program. That gets SIGTERM when this process
// dies, even by SIGKILL; the kernel sends it when the thread ends that started git
// (PR_SET_PDEATHSIG in prctl(2)), so the goroutine keeps its thread meanwhile.
type thread struct{}

func (thread) hold(attributes *syscall.SysProcAttr) {
	runtime.LockOSThread()
	attributes.Pdeathsig = syscall.SIGTERM
}

func (thread) release() { runtime.UnlockOSThread() }
