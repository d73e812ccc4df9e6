//go:build linux

package clonetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

var binaries string // the directory of build

// build makes ghapp and git-credential-ghapp, as users get them. (go test does not know
// that its result depends on them; with -shuffle=on it keeps none.)
var build = sync.OnceValues(func() (dir string, err error) {
	if binaries, err = os.MkdirTemp("", "ghapp-bin-"); err != nil {
		return "", err
	}
	const root = "github.com/ghapp-dev/ghapp/cmd/"
	cmd := exec.Command("go", "build", "-o", binaries+string(filepath.Separator),
		root+"ghapp", root+"git-credential-ghapp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, output)
	}
	return binaries, nil
})

// Clean removes the programs. TestMain calls it last.
func Clean() {
	if binaries != "" {
		_ = os.RemoveAll(binaries)
	}
}
