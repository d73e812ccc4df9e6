//go:build unix && !linux

package process

import "syscall"

// thread does nothing: there is no parent death signal here. A git whose parent
// was killed ends at its next line of progress, by SIGPIPE.
type thread struct{}

func (thread) hold(*syscall.SysProcAttr) {}
func (thread) release()                  {}
