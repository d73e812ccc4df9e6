// Command ghapp goes from a GitHub App's key to a finished clone.
package main

import (
	"os"

	"github.com/ghapp-dev/ghapp/internal/cli"
	"github.com/ghapp-dev/ghapp/internal/demo"
	"github.com/ghapp-dev/ghapp/internal/process"
)

// version is set by the linker.
var version string

func main() {
	if code, ended := process.Init(); ended {
		os.Exit(code)
	}
	env := cli.Process(version)
	env.Demo = demo.Run
	os.Exit(cli.Main(env, os.Args[1:]))
}
