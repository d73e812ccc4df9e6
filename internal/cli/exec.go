package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

const (
	// revokeWait bounds the time in which tokens are revoked at the end.
	revokeWait = 15 * time.Second
	// revokeAtOnce is how many are revoked at the same time.
	revokeAtOnce = 8
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
the current directory's remote origin. It may read their contents and no more, unless
--permissions says otherwise.

git asks ghapp while the command runs, for other repositories of the host too, and gets
a new token when one has expired; the variables stay as they are, so what reads them
has an hour. Where git's configuration names ghapp for another host, as after git-setup,
it gets a token for that one too, if the configuration has an App for it.

In the end all these tokens are revoked; if ghapp is killed by SIGKILL, they run out
within the hour. What the command leaves in the background asks ghapp from then on as
any git does: for the App of the configuration, and not of a flag of exec.

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
	flags.StringSliceVar(&o.permissions, "permissions", nil, "what the token may do, `NAME:read|write`, or all (default contents:read)")
	flags.BoolVar(&o.identity, "identity", false, "have commits be the App's, where GIT_AUTHOR_… and GIT_COMMITTER_… do not say whose")
	return cmd
}

func (c *command) runExec(ctx context.Context, named, argv []string, o execOptions) (err error) {
	permissions, allPermissions, err := parsePermissions(o.permissions)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return cannotRun(argv[0], err)
	}
	request := ghapp.TokenRequest{Permissions: permissions, AllPermissions: allPermissions}
	var repository ghapp.RepositoryName
	switch {
	case o.all:
		request.AllRepositories, request.Installation, repository.Owner = true, named[0], named[0]
	case len(named) > 0:
		request.Repositories = named
		repository, err = ghapp.ParseRepository(named[0])
	default:
		repository, err = c.originRemote(ctx, &gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own()})
		request.Repositories = []string{repository.String()}
	}
	if err != nil {
		return err
	}

	// Its tokens are its own, since it revokes them: others use those of the cache.
	opener := c.apps().With(func(o *apps.Options) { o.Unshared = true })
	session, err := opener.Open(ctx, repository)
	if err != nil {
		return err
	}
	if id := session.Installation(); id != "" {
		request.Installation = id
	}
	listener, err := agent.Listen(c.runtimeDir(), os.TempDir())
	if err != nil {
		return err
	}
	defer listener.Close()
	tokens := &lentTokens{}
	defer c.endTokens(tokens)
	token, err := session.App.Token(ctx, request)
	if err != nil {
		return err
	}
	tokens.add(session.App, token)

	git := gitcmd.Runner{
		Environ: append(slices.Clone(c.Environ), "GHAPP_AGENT_SOCK="+listener.Path()),
		Own:     c.apps().Own(),
	}
	environ, err := git.Environment(ctx, c.execScope(session, request))
	if err != nil {
		return err
	}
	answering := opener.Router(session, func(a *gitauth.Answerer) {
		a.App = once(a.App)
		a.Granted = func(app *ghapp.App, _ ghapp.TokenRequest, t *ghapp.Token) { tokens.add(app, t) }
	})
	answering.First().Permissions = gitMay(answering.First().Permissions, repository.Owner, request, token)

	identity, err := identityOf(ctx, o.identity, session.App, token)
	if err != nil {
		return err
	}
	if identity != nil {
		environ = append(environ, identityVariables(identity, childenv.Lookup(environ))...)
	}

	child := &exec.Cmd{
		Path: path, Args: argv, Env: append(environ, tokenVariables(session.App, token)...),
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
	}
	// From here on a signal is the command's, and we end with it.
	return serving(context.WithoutCancel(ctx), listener, answering, func() error { return runChild(ctx, child) })
}

// originRemote is the repository of the current directory's remote origin, at the address
// that git itself makes of it.
func (c *command) originRemote(ctx context.Context, git *gitcmd.Runner) (ghapp.RepositoryName, error) {
	out, err := git.Output(ctx, gitcmd.Scope{}, "remote", "get-url", "origin")
	if err != nil {
		failed, ok := errors.AsType[*gitcmd.Error](err)
		switch {
		case ctx.Err() != nil:
			return ghapp.RepositoryName{}, context.Cause(ctx)
		case ok && (failed.Reason == gitcmd.NoRemote || failed.Reason == gitcmd.NoRepository):
			return ghapp.RepositoryName{}, &diag.UsageError{Err: errors.New("no repository is named, and the current directory has no remote origin; write ghapp exec OWNER/NAME -- COMMAND")}
		}
		return ghapp.RepositoryName{}, fmt.Errorf("no repository is named, and git does not tell the remote origin of the current directory: %w", err)
	}
	repository, err := ghapp.ParseRepository(strings.TrimSuffix(string(out), "\n"))
	if err != nil {
		return repository, fmt.Errorf("no repository is named, and the remote origin of the current directory is not one: %w", err)
	}
	return repository, nil
}

// execScope is the whole host: the command may name whatever repository it needs. Of
// those that are known git is given a credential before it is asked for one.
func (c *command) execScope(s *apps.Session, request ghapp.TokenRequest) gitcmd.Scope {
	scope := gitcmd.Scope{Origin: s.App.Status().Origin, Submodules: true, Helper: c.helperCommand(), CAFile: s.Settings.CAFile.Text}
	for _, text := range request.Repositories {
		if r, err := ghapp.ParseRepository(text); err == nil { // or else the token was refused
			address := scope.Origin + "/" + r.String()
			scope.URLs = append(scope.URLs, address, address+".git")
		}
	}
	return scope
}

// gitMay gives git what --permissions allows in the repositories that the token is
// for, and elsewhere what the configuration allows. Permissions that leave the contents
// out say nothing of git.
func gitMay(configured func(ghapp.RepositoryName) ghapp.Permissions, owner string, request ghapp.TokenRequest, token *ghapp.Token) func(ghapp.RepositoryName) ghapp.Permissions {
	given := request.Permissions
	if request.AllPermissions {
		given = token.Permissions
	}
	return func(r ghapp.RepositoryName) ghapp.Permissions {
		among := request.AllRepositories && strings.EqualFold(r.Owner, owner)
		for _, name := range token.Repositories {
			among = among || strings.EqualFold(name, r.String())
		}
		if among && given["contents"] != "" {
			return given
		}
		return configured(r)
	}
}

// tokenVariables are those in which gh, and what is made for GitHub Actions, look for
// a token (https://cli.github.com/manual/gh_help_environment).
func tokenVariables(app *ghapp.App, token *ghapp.Token) []string {
	names := []string{"GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"}
	if host := app.Status().Host; host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		names = []string{"GH_TOKEN", "GITHUB_TOKEN"}
	}
	list := []string{"GH_HOST=" + app.Status().Host}
	for _, name := range names {
		list = append(list, name+"="+token.Secret.Reveal())
	}
	return list
}

// findApp is the function of a [gitauth.Answerer].
type findApp = func(ctx context.Context, owner string) (app *ghapp.App, installation string, err error)

// once keeps the App of each owner, and so its tokens, which no cache holds.
func once(find findApp) findApp {
	type found struct {
		app          *ghapp.App
		installation string
	}
	var mu sync.Mutex
	known := map[string]found{}
	return func(ctx context.Context, owner string) (*ghapp.App, string, error) {
		mu.Lock()
		defer mu.Unlock()
		key := strings.ToLower(owner)
		if f, ok := known[key]; ok {
			return f.app, f.installation, nil
		}
		app, installation, err := find(ctx, owner)
		if err == nil {
			known[key] = found{app, installation}
		}
		return app, installation, err
	}
}

// lentTokens are tokens that end with the command. The zero value is ready for use, by
// several goroutines.
type lentTokens struct {
	mu   sync.Mutex
	list []lentToken
}

type lentToken struct {
	app   *ghapp.App
	token *ghapp.Token
}

func (l *lentTokens) add(app *ghapp.App, token *ghapp.Token) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Of those that have run out a command of many days would have ever more.
	l.list = slices.DeleteFunc(l.list, func(t lentToken) bool {
		return t.token.Life() <= 0 || t.token.Secret.Reveal() == token.Secret.Reveal()
	})
	l.list = append(l.list, lentToken{app, token})
}

// endTokens revokes the tokens. One that GitHub does not take any more has ended already.
func (c *command) endTokens(tokens *lentTokens) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeWait)
	defer cancel()
	tokens.mu.Lock()
	defer tokens.mu.Unlock()
	var running sync.WaitGroup
	free := make(chan struct{}, revokeAtOnce)
	for _, t := range tokens.list {
		if t.token.Life() <= 0 {
			continue
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			if err := t.app.Revoke(ctx, t.token); err != nil && !errors.Is(err, ghapp.ErrTokenRefused) {
				c.log().Warn("a token could not be revoked; it lives on until "+t.token.ExpiresAt.Local().Format(time.TimeOnly), "error", err)
			}
		})
	}
	running.Wait()
}

// childExit is the end of the command. There is nothing to tell of it: whoever
// started it has seen what it printed.
type childExit struct{ code int }

func (e *childExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", e.code) }

// cannotRun is what a shell says of a command that cannot be run.
func cannotRun(name string, err error) error {
	code := notExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = notFound
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	return &diag.ExitError{Code: code, Err: fmt.Errorf("run %s: %w", name, err)}
}

// runChild runs the command to its end and passes on the signals that this process
// gets meanwhile.
func runChild(ctx context.Context, child *exec.Cmd) error {
	signals := make(chan os.Signal, 8)
	for _, s := range passedOn() {
		// One that is ignored, as under nohup, stays so, for the command too.
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := child.Start(); err != nil {
		return cannotRun(child.Args[0], err)
	}
	ended := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case s := <-signals:
				if !reachesAll(s) {
					_ = child.Process.Signal(s) // it may just have ended
				}
			case <-ended:
				return
			}
		}
	})
	err := child.Wait()
	close(ended)
	passing.Wait()
	if code := exitCode(child.ProcessState); code != 0 {
		return &childExit{code}
	}
	return err
}
