//go:build unix

package deploy

import (
	"context"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// What is published is a function of the commit and the options. Of the configuration that
// the user's git, the system's and the environment's have, git sees what it needs to reach
// a host (gitcmd.Network), for a submodule on another host what logs in there
// (gitcmd.Logins), and for a signature whose count (gitcmd.Signing); nothing else, and no
// attributes but the commit's.

// environs are environments for git.
type environs struct {
	alone []string // where nobody is reached
	// ambient reads the configuration once, by a process, where it is needed. The error is that
	// there is no git.
	ambient func() (ambientEnvirons, error)
}

// ambientEnvirons are those in which the configuration has a say.
type ambientEnvirons struct {
	own     []string // for the repository of the target
	foreign []string // for a repository that is not on the host of the target
	signed  []string // for a look at a signature
}

// isolated is the target with a git that sees no more than that.
func (t *Target) isolated(ctx context.Context) *Target {
	isolated := *t
	isolated.environs = &environs{
		alone:   gitcmd.Alone(t.Git.Environ),
		ambient: sync.OnceValues(func() (ambientEnvirons, error) { return t.ambient(ctx) }),
	}
	return &isolated
}

// ambient reads the configuration. A broken one is no reason to publish nothing.
func (t *Target) ambient(ctx context.Context) (environs ambientEnvirons, err error) {
	ambient, err := t.Git.Ambient(ctx)
	if err != nil && ctx.Err() == nil {
		if gitcmd.ReasonOf(err) == gitcmd.NotInstalled {
			return environs, err
		}
		t.log().Warn("git's configuration cannot be read, and is passed over with its proxies and certificates", "error", err)
	}
	signing := gitcmd.Signing
	if t.Signatures != nil && t.Signatures.AllowedSigners != "" {
		// The store's configuration names the file, over which these entries would go.
		signing = func(key string) bool { return gitcmd.Signing(key) && key != "gpg.ssh.allowedsignersfile" }
	}
	for _, made := range []struct {
		environ  *[]string
		subjects []gitcmd.Subject
	}{
		{&environs.own, []gitcmd.Subject{gitcmd.Network}},
		{&environs.foreign, []gitcmd.Subject{gitcmd.Network, gitcmd.Logins}},
		{&environs.signed, []gitcmd.Subject{gitcmd.Network, signing}},
	} {
		if *made.environ, err = ambient.Environ(made.subjects...); err != nil {
			return environs, err
		}
	}
	return environs, nil
}
