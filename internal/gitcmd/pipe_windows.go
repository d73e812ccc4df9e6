package gitcmd

import "os"

// Pipe is a pipe to a git that reads little at a time.
func Pipe() (read, write *os.File, err error) { return os.Pipe() }
