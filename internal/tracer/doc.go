// Package tracer is for tests: it sees each system call that changes files (ptrace(2), seccomp(2)), of a
// program and of every git it starts, and has it fail, or kills the process that makes it. strace(1)
// can do that too, but it counts the calls of each process for itself, so that no count of its walks
// through all of them.
package tracer
