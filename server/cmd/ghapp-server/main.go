// Command ghapp-server hands out installation access tokens to machines that prove who they
// are, so that none of them needs the App's key.
package main

import (
	"os"

	"github.com/ghapp-dev/ghapp/server/internal/servercli"
)

func main() { os.Exit(servercli.Main(os.Args[1:])) }
