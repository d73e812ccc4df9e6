// Command ghapp goes from a GitHub App's key to a finished clone.
package main

import (
	"os"

	"github.com/ghapp-dev/ghapp/internal/cli"
)

// version is set by the linker.
var version string

func main() {
	os.Exit(cli.Main(cli.Process(version), os.Args[1:]))
}
