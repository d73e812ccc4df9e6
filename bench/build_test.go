package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is the directory where build puts what it builds, removed after the run.
var programs string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if name := os.Getenv(mirrorerVariable); name != "" {
		return runMirrorer(name)
	}
	var err error
	if programs, err = os.MkdirTemp("", "ghapp-bench-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return m.Run()
}

// build builds the program in a directory as the Makefile does, once in a run, and
// returns its path.
func build(tb testing.TB, dir string) string {
	tb.Helper()
	path := filepath.Join(programs, filepath.Base(dir))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags",
		"-s -w -X main.version=bench", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v in %s: %v\n%s", cmd.Args, dir, err, out)
	}
	return path
}
