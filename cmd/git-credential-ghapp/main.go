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
// nor token. It asks the agent whose socket GHAPP_AGENT_SOCK names, or else the
// user's own agent, "ghapp agent". Without one it becomes "ghapp credential" with the
// same arguments and the same standard input; so too when it is given flags, which
// say whose credentials are wanted. Variables such as GHAPP_APP say so as well, and
// the user's own agent was started without them.
//
// Standard output carries the protocol and nothing else,
// https://git-scm.com/docs/git-credential#IOFMT. A reason not to answer goes to
// standard error; quit=1 then keeps git from asking other helpers or a person.
package main

import (
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/agent"
)

func main() {
	h := helper{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, socket: os.Getenv(socketVariable)}
	if h.socket == "" && !identityGiven(os.Environ()) {
		h.socket, h.usersOwn = agent.SocketPath(os.LookupEnv), true
	}
	os.Exit(h.run(os.Args[1:]))
}

const socketVariable = "GHAPP_AGENT_SOCK"

// identityGiven reports whether a variable says something about the App.
func identityGiven(environ []string) bool {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "GHAPP_") && name != socketVariable && value != "" {
			return true
		}
	}
	return false
}
