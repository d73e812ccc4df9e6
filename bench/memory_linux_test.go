package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// memoryTaken is that of this process until now. What getrusage(2) says of a process begins with
// that of the one that has started it, so that it is not asked about this one; of a small child it may be
// this process's.
func memoryTaken() memory {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage)
	own, _ := peakOf(os.Getpid())
	return memory{Own: own, Children: usage.Maxrss << 10}
}

// peakOf is the most memory that a process has taken until now (proc_pid_status(5), "VmHWM").
func peakOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10, err
}
