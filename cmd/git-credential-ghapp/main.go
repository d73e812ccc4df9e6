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
// It is small, since git starts it twice per operation, and holds no key. It asks the
// agent whose socket GHAPP_AGENT_SOCK names, or else the user's own agent, "ghapp
// agent"; but no agent when it is given flags, which say whose credentials are wanted,
// unless they name the user's own config file alone, which says nothing new. Variables
// such as GHAPP_APP say so as well, and the user's own agent was started without them.
//
// Without an agent it looks for what ghapp has answered to the very same question
// before, in the cache of this user's tokens; that works on Linux and macOS. Otherwise
// it becomes "ghapp credential" with the same arguments and the same standard input.
//
// Standard output carries the protocol and nothing else,
// https://git-scm.com/docs/git-credential#IOFMT. A reason not to answer goes to
// standard error; quit=1 then keeps git from asking other helpers or a person.
package main

import (
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/credcache"
)

func main() {
	h := helper{
		stdin: &replayReader{source: os.Stdin}, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		socket: os.Getenv(socketVariable),
	}
	if h.socket == "" && !identityGiven(h.environ) {
		h.socket, h.usersOwn = agentproto.SocketPath(os.LookupEnv), true
	}
	if credcache.Supported {
		h.cache = credcache.Dir(os.LookupEnv)
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
