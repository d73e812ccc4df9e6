// Command ghapp goes from a GitHub App's key to a finished clone.
package main

import (
	"os"

	"github.com/ghapp-dev/ghapp/internal/cli"
	"github.com/ghapp-dev/ghapp/internal/process"
)

// version is set by the linker.
var version string

func main() {
	if code, ended := process.Init(); ended {
		os.Exit(code)
	}
	os.Exit(cli.Main(cli.Process(version), os.Args[1:]))
}
