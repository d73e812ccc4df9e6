// Git-credential-ghapp is the credential helper that git starts: configured as
//
//	[credential "https://github.com"]
//		helper = ghapp
//		useHttpPath = true
//
// it is run as
//
//	git-credential-ghapp [flags] get|store|erase|capability
//
// It is small, since git starts it twice per operation, and holds neither key
// nor token. It asks the agent whose socket GHAPP_AGENT_SOCK names; without one,
// and when it is given flags, which say whose credentials are wanted, it becomes
// "ghapp credential" with the same arguments and the same standard input.
//
// Standard output carries the protocol and nothing else,
// https://git-scm.com/docs/git-credential#IOFMT. A reason not to answer goes to
// standard error; quit=1 then keeps git from asking other helpers or a person.
package main

import "os"

func main() {
	h := helper{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, socket: os.Getenv("GHAPP_AGENT_SOCK")}
	os.Exit(h.run(os.Args[1:]))
}
