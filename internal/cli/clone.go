package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/term"
)

type cloneOptions struct {
	branch    string
	depth     int
	noPersist bool
	extra     []string
}

func (c *command) clone() *cobra.Command {
	var o cloneOptions
	cmd := &cobra.Command{
		Use:   "clone REPO [DIR] [flags] [-- OPTION OF GIT CLONE...]",
		Short: "Clone a repository as the App",
		Long: `Clones a repository with an installation access token for just that repository.
REPO is owner/name, an https URL or an ssh URL; the installation is found by itself.

No token is left in the clone, in a command line or in an environment: git asks
ghapp while it runs. The clone's own configuration names the credential helper, so
that git pull works later on. It follows the config file where that has the App, and
else remembers what flags and variables said.`,
		Example: `  ghapp clone acme/site
  ghapp clone acme/site /srv/site --branch deployment --depth 1
  ghapp clone https://github.com/acme/site -- --recurse-submodules --filter=blob:none`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			if n := len(beforeDash(cmd, args)); n < 1 || n > 2 {
				return fmt.Errorf("clone takes a repository and at most one directory, got %d arguments", n)
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			named := beforeDash(cmd, args)
			o.extra = args[len(named):]
			return c.runClone(cmd.Context(), named, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.branch, "branch", "b", "", "check out this `BRANCH` or tag")
	flags.IntVar(&o.depth, "depth", 0, "fetch only so many commits of the history")
	flags.BoolVar(&o.noPersist, "no-persist", false, "leave nothing of ghapp in the clone's configuration")
	return cmd
}

// beforeDash are the arguments before --.
func beforeDash(cmd *cobra.Command, args []string) []string {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		return args[:dash]
	}
	return args
}

func (c *command) runClone(ctx context.Context, args []string, o cloneOptions) error {
	repository, err := ghapp.ParseRepository(args[0])
	if err != nil {
		return err
	}
	settings, err := c.apps().Settings(repository)
	if err != nil {
		return err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return &diag.SettingError{Err: err}
	}
	listener, err := agent.Listen(c.runtimeDir(), os.TempDir())
	if err != nil {
		return err
	}
	defer listener.Close()

	clone := gitcmd.CloneOptions{
		Scope:  gitcmd.Scope{Origin: host.Origin, Helper: c.sessionHelper(), CAFile: settings.CAFile.Text},
		URL:    host.Origin + "/" + repository.String() + ".git",
		Branch: o.branch, Depth: o.depth, Extra: o.extra,
	}
	if len(args) == 2 {
		clone.Dir = args[1]
	}
	if !o.noPersist {
		clone.Persist = c.helperSections(host.Origin, settings, gitsetup.Local, repository.Owner)
	}
	tokens := scrub.New()
	git := c.git(listener.Path(), tokens)
	// What is wrong with the directory is told before GitHub is asked for anything.
	dir, err := git.Destination(clone)
	if err != nil {
		return err
	}
	session, err := c.apps().Start(ctx, settings)
	if err != nil {
		return err
	}
	request := ghapp.TokenRequest{Repositories: []string{repository.String()}, Installation: session.Installation()}
	token, refused := session.App.Token(ctx, request)
	asked := &askedFor{origin: host.Origin}
	clone.Asked = asked.watch
	answering := c.apps().Router(session, func(a *gitauth.Answerer) {
		a.Permissions = nil // a clone reads
		a.HandedOut = tokens.Add
		a.Granted = asked.granted
	})
	present := repository
	switch {
	case refused == nil:
		present = presentName(token, repository)
		c.follow(&clone, dir, repository, present)
	case !errors.Is(refused, ghapp.ErrIPAllowList) || !answering.First().Public(ctx, repository, refused):
		return refused
	}
	present.Wiki = false // git asks for the token of the repository
	err = serving(ctx, listener, answering, func() error {
		err := c.firstClone(ctx, git, &clone, attempt{session.App, token, present, answering})
		if err != nil {
			if err = c.mend(ctx, err, answering.First(), repository, &clone, dir); err == nil {
				err = git.Clone(ctx, clone)
			}
		}
		return answering.Explained(err)
	})
	if err != nil {
		return err
	}
	if only := c.onlyInEnvironment(settings, repository.Owner); clone.Persist != nil && only != "" {
		c.progress("Plain git in this clone needs %s too, since the key is nowhere else.", only)
	}
	if clone.Persist != nil {
		c.tellOfSubmodules(ctx, dir, host.Origin)
	}
	if c.json {
		return c.printClone(ctx, repository, dir)
	}
	return nil
}

// printClone tells a program what it got.
func (c *command) printClone(ctx context.Context, r ghapp.RepositoryName, dir string) error {
	git := gitcmd.Runner{Dir: dir, Environ: c.Environ, Own: c.apps().Own()}
	head, err := git.Output(ctx, gitcmd.Scope{}, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	return term.JSON(c.Stdout, map[string]string{
		"repository": r.String(), "directory": dir, "commit": strings.TrimSpace(string(head)),
	})
}

// git runs git, which finds the credential helper's socket in its environment and
// has tokens taken out of what it prints.
func (c *command) git(socket string, tokens *scrub.Scrubber) *gitcmd.Runner {
	runner := &gitcmd.Runner{
		Environ: append(c.Environ[:len(c.Environ):len(c.Environ)], "GHAPP_AGENT_SOCK="+socket),
		Own:     c.apps().Own(),
		Stdout:  c.Stdout,
		Stderr:  c.Stderr,
		Filter:  func(w io.Writer) io.Writer { return tokens.Writer(w) },
	}
	switch {
	case c.quiet, c.json: // a program reads the error, which has what git says of a failure
		runner.Stderr = io.Discard
	case term.Is(c.Stderr):
		runner.Progress = true
	}
	return runner
}

// runtimeDir is where sockets of this user belong.
func (c *command) runtimeDir() string {
	dir, _ := c.lookup("XDG_RUNTIME_DIR")
	return dir
}
