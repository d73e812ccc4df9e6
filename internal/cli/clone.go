package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
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
	request := gitsession.CloneRequest{
		Repository: repository, Branch: o.branch, Depth: o.depth, Extra: o.extra,
		Persist: !o.noPersist, Output: c.gitOutput(),
	}
	if len(args) == 2 {
		request.Dir = args[1]
	}
	request.Moved = func(from, to ghapp.RepositoryName) { c.progress("%s is %s now.", from, to) }
	clone, err := gitsession.PlanClone(c.apps(), request)
	if err != nil {
		return err
	}
	defer clone.Close()
	if err := clone.Run(ctx); err != nil {
		return err
	}
	if request.Persist {
		c.tellOfPlainGit(ctx, clone, repository)
	}
	if c.json {
		return c.printClone(ctx, repository, clone.Dir)
	}
	return nil
}

// tellOfPlainGit says what plain git in a clone needs besides what was written there.
func (c *command) tellOfPlainGit(ctx context.Context, clone *gitsession.Clone, r ghapp.RepositoryName) {
	if only := gitsession.OnlyInEnvironment(c.apps(), clone.Settings, r.Owner); only != "" {
		c.progress("Plain git in this clone needs %s too, since the key is nowhere else.", only)
	}
	c.tellOfSubmodules(ctx, clone.Dir, clone.Origin)
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

// gitOutput is where git prints to.
func (c *command) gitOutput() gitsession.Output {
	if c.quiet || c.json { // a program reads the error, which has what git says of a failure
		return gitsession.Output{Stdout: c.Stdout, Stderr: io.Discard}
	}
	return gitsession.Output{Stdout: c.Stdout, Stderr: c.Stderr, Progress: term.Is(c.Stderr)}
}
