//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// pipeSize is what a pipe holds before anyone reads from it, at the least.
const pipeSize = 4096

// execProgram replaces this process by path. A request that was read is put back; one that is longer than
// any of git's, or not one at all, is passed on to a child.
func execProgram(path string, args []string, stdin *replayReader) (int, error) {
	if len(stdin.read) > 0 {
		if !stdin.whole || len(stdin.read) > pipeSize {
			return runChild(path, args, stdin.replay())
		}
		if err := putBack(stdin.read); err != nil {
			return exitFailed, fmt.Errorf("cannot pass the request on to %s: %w", path, err)
		}
	}
	return exitFailed, fmt.Errorf("cannot start %s: %w", path, syscall.Exec(path, args, childenv.Again(os.Environ())))
}

// putBack makes text what standard input holds.
func putBack(text []byte) error {
	os.Stdin.Close()
	var ends [2]int // the lowest that are free (pipe(2)), the first of them standard input
	if err := syscall.Pipe(ends[:]); err != nil {
		return err
	}
	if ends[0] != 0 {
		return errors.New("standard input is in use")
	}
	defer syscall.Close(ends[1])
	_, err := syscall.Write(ends[1], text)
	return err
}
