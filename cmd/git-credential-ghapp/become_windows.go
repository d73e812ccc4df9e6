package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// replace runs path as a child, since Windows replaces no process.
func replace(path string, args []string) (int, error) {
	child := exec.Command(path, args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := child.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return exitFailed, fmt.Errorf("cannot start %s: %w", path, err)
	}
	return child.ProcessState.ExitCode(), nil
}
