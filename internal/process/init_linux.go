package process

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init is for the beginning of a program. Where that is the first process of a container
// (PID 1), it goes on as another process, and this one does what the kernel wants of the
// first: processes whose parent has died become its children, and stay zombies until it
// waits for them. os/exec waits for those alone that it has started, and a program that
// waited for all of them itself would take their ends away from it.
//
// It returns false where this process is to go on. Otherwise the other one has ended, and
// code is what it has ended with. Signals go on to it.
func Init() (code int, ended bool) {
	if os.Getpid() != 1 || os.Getenv("LISTEN_PID") == "1" { // sd_listen_fds(3): the sockets are ours
		return 0, false
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 64)
	var passed []os.Signal
	for n := syscall.Signal(1); n < 65; n++ {
		if !ours(n) && !signal.Ignored(n) {
			passed = append(passed, n)
		}
	}
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)

	attributes := &syscall.SysProcAttr{}
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		// What is typed at the terminal reaches it alone, and once.
		attributes.Setpgid, attributes.Foreground = true, true
	}
	child, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attributes,
	})
	if err != nil {
		return 0, false // a container without /proc: better with zombies than not at all
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(child, s.(syscall.Signal))
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 1, true // there is nobody left to wait for
		case pid == child && status.Exited():
			return status.ExitStatus(), true
		case pid == child && status.Signaled():
			return 128 + int(status.Signal()), true
		}
	}
}

// ours reports whether a signal is not passed on: it cannot be, or it is about this
// process alone.
func ours(n syscall.Signal) bool {
	switch n {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGTTIN, syscall.SIGTTOU,
		syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGPROF, 32, 33, 34:
		return true // the last three are libc's
	}
	return false
}
