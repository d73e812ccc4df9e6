package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/process"
)

// What a shell makes of a command that it cannot run (POSIX.1-2024, Shell & Utilities,
// 2.8.2 Exit Status for Commands).
const (
	notExecutable = 126
	notFound      = 127
)

type execOptions struct {
	identity    bool
	all         bool
	permissions []string
}

func (c *command) exec() *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec [REPO...] -- COMMAND [ARG...] | exec --all-repositories OWNER -- COMMAND [ARG...]",
		Short: "Run a command as the App",
		Long: `Runs a command with GH_TOKEN and GITHUB_TOKEN set (GH_ENTERPRISE_TOKEN and
GITHUB_ENTERPRISE_TOKEN for a GitHub Enterprise Server) to an installation access token
for the repositories named, which all belong to one owner; without a name, for that of
the current directory's remote origin (a repository without a work tree is not asked).
It may read their contents and no more, unless --permissions says otherwise.

git asks ghapp while the command runs, for other repositories of the host too, and gets
a new token when one has expired; the variables stay as they are, so what reads them
has an hour. Where git's configuration names ghapp for another host, as after git-setup,
it gets a token for that one too, if the configuration has an App for it.

In the end all these tokens are revoked, but for those of a broker, which others have
too; if ghapp is killed by SIGKILL, they run out within the hour. What the command leaves
in the background asks ghapp from then on as any git does: for the App of the
configuration, and not of a flag of exec.

The exit code is the command's, or 128 and the number of the signal that ended it.`,
		Example: `  ghapp exec acme/site --permissions contents:read,issues:write -- gh issue list -R acme/site
  ghapp exec -- git fetch
  ghapp exec --all-repositories acme -- go mod download`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			switch {
			case cmd.ArgsLenAtDash() < 0:
				return errors.New("write -- before the command")
			case len(args) == cmd.ArgsLenAtDash():
				return errors.New("there is no command after --")
			case o.all && cmd.ArgsLenAtDash() != 1:
				return errors.New("--all-repositories takes one owner")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			named := beforeDash(cmd, args)
			return c.runExec(cmd.Context(), named, args[len(named):], o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all-repositories", false, "for every repository of the installation of OWNER")
	flags.StringSliceVar(&o.permissions, "permissions", nil,
		"what the token may do, `NAME:read|write`, or all (default contents:read)")
	flags.BoolVar(&o.identity, "identity", false,
		"have commits be the App's, where GIT_AUTHOR_… and GIT_COMMITTER_… do not say whose")
	return cmd
}

func (c *command) runExec(ctx context.Context, named, argv []string, o execOptions) error {
	plan, err := c.planExec(ctx, named, argv, o)
	if err != nil {
		return err
	}
	ctx, stop := process.UntilSignal(ctx)
	defer stop() // once the tokens are revoked
	access, err := gitsession.Grant(ctx, c.apps(), plan.repository, plan.request)
	if err != nil {
		return err
	}
	defer access.End()
	if plan.child.Env, err = access.Environ(ctx); err != nil {
		return err
	}
	identity, err := identityOf(ctx, o.identity, access.App, access.Token)
	if err != nil {
		return err
	}
	if identity != nil {
		environ := plan.child.Env
		plan.child.Env = append(environ, gitsession.IdentityVariables(identity, childenv.Lookup(environ))...)
	}
	// From here on a signal is the command's, and we end with it.
	return access.Serve(context.WithoutCancel(ctx), func() error { return runChild(ctx, plan.child) })
}

// execPlan is what is known before GitHub is asked for anything.
type execPlan struct {
	child      *exec.Cmd            // has no environment yet
	repository ghapp.RepositoryName // chooses the App
	request    ghapp.TokenRequest
}

func (c *command) planExec(ctx context.Context, named, argv []string, o execOptions) (p execPlan, err error) {
	permissions, allPermissions, err := parsePermissions(o.permissions)
	if err != nil {
		return p, err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return p, cannotRun(argv[0], err)
	}
	p.child = &exec.Cmd{Path: path, Args: argv, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr}
	p.request = ghapp.TokenRequest{Permissions: permissions, AllPermissions: allPermissions}
	switch {
	case o.all:
		p.request.AllRepositories, p.request.Installation = true, named[0]
		p.repository = ghapp.RepositoryName{Owner: named[0]}
	case len(named) > 0:
		p.request.Repositories = named
		p.repository, err = ghapp.ParseRepository(named[0])
	default:
		// One among the files of a clone could choose for whose repository there is a token.
		git := &gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own(), NoBare: true}
		p.repository, err = gitsession.OriginRemote(ctx, git)
		p.request.Repositories = []string{p.repository.String()}
	}
	return p, err
}

// childExit is the end of the command. There is nothing to tell of it: the person who
// started it has seen what it printed.
type childExit struct{ code int }

func (e *childExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", e.code) }

// cannotRun is what a shell says of a command that cannot be run.
func cannotRun(name string, err error) error {
	code, hint := notExecutable, "have it be a program that may be run: chmod +x, and #! with an interpreter that is there"
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code, hint = notFound, "check its name, install it, or name its path: it is looked for in the directories of PATH"
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	return &fault.ExitError{Code: code, Err: fmt.Errorf("run %s: %w", name, err), Hint: hint}
}

// runChild runs the command to its end.
func runChild(ctx context.Context, child *exec.Cmd) error {
	code, err := process.Supervise(ctx, child)
	if failed, ok := errors.AsType[*process.StartError](err); ok {
		return cannotRun(child.Args[0], failed.Err)
	}
	if code != 0 {
		return &childExit{code}
	}
	return err
}
