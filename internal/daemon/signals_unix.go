//go:build unix

package daemon

import (
	"os"
	"os/signal"
	"syscall"
)

// requested has the signals sent that are requests.
func requested(to chan<- os.Signal) { signal.Notify(to, syscall.SIGHUP, syscall.SIGUSR1) }

// isReload reports whether a signal wants the configuration read anew.
func isReload(s os.Signal) bool { return s == syscall.SIGHUP }
