package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// execGhapp lets "ghapp credential" take over, with the same arguments and the same
// standard input. Where a process can be replaced it returns only an error; elsewhere
// it returns ghapp's exit code.
func execGhapp(flags []string, operation credential.Operation, stdin *replayReader) (int, error) {
	path, err := findGhapp()
	if err != nil {
		return exitFailed, err
	}
	args := append([]string{path, "credential"}, flags...)
	return execProgram(path, append(args, string(operation)), stdin)
}

func runChild(path string, args []string, stdin io.Reader) (int, error) {
	child := exec.Command(path, args[1:]...)
	child.Env = childenv.Again(os.Environ())
	child.Stdin, child.Stdout, child.Stderr = stdin, os.Stdout, os.Stderr
	err := child.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return exitFailed, fmt.Errorf("cannot start %s: %w", path, err)
	}
	return child.ProcessState.ExitCode(), nil
}

// findGhapp returns the ghapp this helper was installed with, or else the one
// on PATH.
func findGhapp() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find ghapp: %w", err)
	}
	// Where the system does not say where a link led, as on macOS.
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	dir := filepath.Dir(self)
	if path, err := exec.LookPath(filepath.Join(dir, "ghapp")); err == nil {
		return path, nil
	}
	path, err := exec.LookPath("ghapp")
	if err != nil {
		return "", fmt.Errorf("no agent is running and ghapp is neither in %s nor on PATH", dir)
	}
	return path, nil
}
