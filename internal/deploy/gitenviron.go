//go:build unix

package deploy

import (
	"context"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// What is published is a function of the commit and the options. Of the configuration that
// the user's git, the system's and the environment's have, git sees what it needs to reach
// a host (gitcmd.Network), for a submodule on another host what logs in there
// (gitcmd.Logins), and for a signature whose count (gitcmd.Signing); nothing else, and no
// attributes but the commit's.

// environs are environments for git.
type environs struct {
	foreign []string // for a repository that is not on the host of the target
	signed  []string // for a look at a signature
}

// isolated is the target with a git that sees no more than that. The configuration is read
// once, by a process. A broken one is no reason to publish nothing.
func (t *Target) isolated(ctx context.Context) (*Target, error) {
	ambient, err := t.Git.Ambient(ctx)
	if err != nil && ctx.Err() == nil {
		if gitcmd.ReasonOf(err) == gitcmd.NotInstalled {
			return nil, err
		}
		t.log().Warn("git's configuration cannot be read, and is passed over with its proxies and certificates", "error", err)
	}
	signing := gitcmd.Signing
	if t.Signatures != nil && t.Signatures.AllowedSigners != "" {
		// The store's configuration names the file, over which these entries would go.
		signing = func(key string) bool { return gitcmd.Signing(key) && key != "gpg.ssh.allowedsignersfile" }
	}
	isolated := *t
	for _, made := range []struct {
		environ  *[]string
		subjects []gitcmd.Subject
	}{
		{&isolated.Git.Environ, []gitcmd.Subject{gitcmd.Network}},
		{&isolated.environs.foreign, []gitcmd.Subject{gitcmd.Network, gitcmd.Logins}},
		{&isolated.environs.signed, []gitcmd.Subject{gitcmd.Network, signing}},
	} {
		if *made.environ, err = ambient.Environ(made.subjects...); err != nil {
			return nil, err
		}
	}
	return &isolated, nil
}
