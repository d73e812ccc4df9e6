package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/lfsconfig"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// askedAgain is after how long GitHub is asked again whether it takes a key that it has
// refused, by git's questions: a build has hundreds, and a person who has just registered
// the key waits no longer. Other commands ask at once.
const askedAgain = 10 * time.Second

func (c *command) credential() *cobra.Command {
	return &cobra.Command{
		Use:   "credential get|store|erase|capability",
		Short: "Answer git's credential protocol",
		Long: `Answers one operation of git's credential protocol on standard input and output.
git runs this by itself, as git-credential-ghapp, where its configuration names
the helper ghapp.`,
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.byGit = true
			op := credential.Operation(args[0])
			switch op {
			case credential.Capability:
				_, err := fmt.Fprint(c.Stdout, credential.Announcement)
				return err
			case credential.Get, credential.Erase:
			default:
				return nil // store, and what git may add: we keep our own tokens
			}
			asked, err := credential.Parse(term.Reader(cmd.Context(), c.Stdin))
			if err != nil {
				return err
			}
			answer, err := c.answer(cmd.Context(), op, asked)
			switch {
			case errors.Is(err, gitauth.ErrNotOurs):
				return nil
			case err != nil && op == credential.Get:
				return c.refuse(err)
			case err != nil || answer == nil:
				return err
			}
			return answer.Encode(c.Stdout)
		},
	}
}

// answer asks the agent where there is one, as git-credential-ghapp does, unless
// flags say whose credentials are wanted.
func (c *command) answer(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	gitauth.Stored(asked, c.largeFileStores(ctx))
	socket, _ := c.lookup("GHAPP_AGENT_SOCK")
	if socket != "" && !c.anyGiven() {
		answer, err := agent.Ask(ctx, socket, op, asked)
		if !errors.Is(err, agent.ErrUnavailable) {
			return answer, err
		}
	}
	return c.answerAsked(ctx, op, asked)
}

// largeFileStores are the addresses that .lfsconfig of the work tree names, in which git
// works. git reads it: it is in the format of git's own configuration.
func (c *command) largeFileStores(ctx context.Context) []string {
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	path := lfsconfig.Near(dir, c.lookup)
	if path == "" {
		return nil
	}
	git := gitcmd.Runner{Environ: c.Environ, Own: c.own(), Dir: filepath.Dir(path)}
	out, err := git.Output(ctx, gitcmd.Scope{}, "config", "--null", "--file", path, "--get-regexp", `^(lfs\.(push)?url|remote\..*\.lfs(push)?url)$`)
	if err != nil {
		c.log().Debug("no store of large files is read from .lfsconfig", "error", err)
		return nil
	}
	var list []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, address, ok := strings.Cut(entry, "\n"); ok {
			list = append(list, address)
		}
	}
	return list
}

// answerAsked answers for the App that the configuration has for the owner and the
// host in the question.
func (c *command) answerAsked(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	settings, err := c.settingsAsked(asked)
	if err != nil {
		return nil, err
	}
	c.refusalLife = askedAgain
	// Looked at before they are read: what changes from now on ends the answer.
	files, lasting := c.restsOn(settings)
	session, err := c.start(ctx, settings)
	if err != nil {
		return nil, err
	}
	answerer := c.answererFor(session)
	var given granted
	answerer.Granted = func(_ *ghapp.App, r ghapp.TokenRequest, t *ghapp.Token) { given = granted{t, r.Repositories[0]} }
	found, err := answerer.Credential(ctx, op, asked)
	switch {
	case err != nil:
	case op == credential.Erase:
		c.dropAnswers(session)
	case given.token != nil && lasting:
		c.keepAnswer(ctx, session, asked, found, given, files)
	}
	return found, err
}

// settingsAsked chooses the App for a question. The error is [gitauth.ErrNotOurs] for
// a host that the configuration does not know.
func (c *command) settingsAsked(asked *credential.Credential) (config.AppSettings, error) {
	host := asked.Host
	if asked.Protocol != "https" {
		host = asked.Protocol + "://" + host
	}
	if _, err := api.ParseHost(host, ""); err != nil {
		return config.AppSettings{}, gitauth.ErrNotOurs
	}
	owner, _, _ := strings.Cut(asked.Path, "/")
	settings, err := c.settings(ghapp.RepositoryName{Host: host, Owner: owner})
	if gone := c.fileGone(); err != nil && gone != nil {
		return settings, gone
	}
	if errors.Is(err, config.ErrOtherHost) {
		return config.AppSettings{}, gitauth.ErrNotOurs
	}
	return settings, err
}

// fileGone is the failure of a helper line that leads to an App by a config file alone,
// which is not there. It is nil where that is not so.
func (c *command) fileGone() error {
	loaded, err := c.load()
	if err != nil || c.chosen("app") {
		return nil
	}
	path, found := loaded.Path()
	if found || path.Source.Kind != config.FromFlag {
		return nil
	}
	return &diag.SettingError{
		Err: fmt.Errorf("the config file %s, which the helper's line in git's configuration names, is not there", path.Text),
		Hint: "bring it back; or, where it has moved or another takes its place, `ghapp git-setup --local` in the clone " +
			"points git to the one that is in use",
	}
}

// refuse tells git to ask nobody else: another helper, or a person at a prompt,
// would bring another identity. git takes that from a helper that ends well, so
// the reason goes to standard error and the exit code is 0.
func (c *command) refuse(reason error) error {
	c.report(diag.Explain(reason))
	return (&credential.Credential{Quit: true}).Encode(c.Stdout)
}
