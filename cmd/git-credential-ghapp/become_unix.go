//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

func replace(path string, args []string) (int, error) {
	return exitFailed, fmt.Errorf("cannot start %s: %w", path, syscall.Exec(path, args, os.Environ()))
}
