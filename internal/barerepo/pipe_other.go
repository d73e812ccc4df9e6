//go:build !unix

package barerepo

import "os"

func newPipe() (read, write *os.File, err error) { return os.Pipe() }
