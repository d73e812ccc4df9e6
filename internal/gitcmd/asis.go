package gitcmd

import (
	"context"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// AsIs runs git in r.Dir as its user does: with r.Environ and with what the machine has
// configured, credentials included. The directory's own configuration counts as well, and may
// name programs: the caller has looked at it. git uses these protocols alone. Only secrets
// stay out of its environment; it asks nobody at a prompt, shows no traces, in which there are
// credentials, and tells what is wrong in English. The errors are those of [Runner.Run].
func (r *Runner) AsIs(ctx context.Context, protocols []string, args ...string) error {
	env := environ(childenv.For(r.Environ, r.Own))
	env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, "GIT_TRACE") })
	env.unset("GIT_CURL_VERBOSE", "LFS_DEBUG_HTTP")
	env.set("GIT_TERMINAL_PROMPT", "0")
	env.set("GIT_ASKPASS", "") // goes before core.askPass and SSH_ASKPASS
	env.unset(repositoryVariables()...)
	env.allow(protocols)
	env.english()
	if err := env.configure(r.bare()); err != nil {
		return err
	}
	return r.run(ctx, env, nil, nil, args)
}
