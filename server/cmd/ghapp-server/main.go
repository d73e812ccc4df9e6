// Command ghapp-server hands out installation access tokens to machines that prove who they
// are, so that none of them needs the App's key.
package main

import (
	"os"

	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/server/internal/servercli"
)

// version is set by the linker.
var version string

func main() {
	if code, ended := process.Init(); ended {
		os.Exit(code)
	}
	os.Exit(servercli.Main(version, os.Args[1:]))
}
