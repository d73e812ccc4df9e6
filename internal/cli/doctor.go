package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/agentserver"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/doctor"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitconfig"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/signer"
)

// agentPatience bounds the question how the agent is.
const agentPatience = 2 * time.Second

func (c *command) doctor() *cobra.Command {
	var redactOwner bool
	cmd := &cobra.Command{
		Use:   "doctor [REPO]",
		Short: "Walk the way from the key to a clone, and name what is broken",
		Long: `Checks each link of the way from the App's key to a clone of REPO, with the code that
the other commands use, and prints a line for each:

  ok       it is as it should be
  note     and there is something to know
  warn     it works, and should be mended
  broken   it does not work, with one cause and one hint
  skipped  it needs a link that is broken

Without REPO it takes the repository of the current directory's remote origin, if an
App is configured for its host, and else tells what can be told without one.

Where git is to ask ghapp for REPO, plain git is tried as well: in the current directory,
and as cron would run it, from an empty environment. What makes a difference is named.
The tokens that git gets for that stay in the cache, as after any other call of it.

It asks GitHub, mints tokens to try them, and revokes them. A token of the cache that
GitHub refuses is dropped; nothing else is changed. Nothing secret is printed; with
--redact-owner the names of owners, repositories, Apps, hosts and users are not either,
so that it can be pasted where everybody reads it.

The exit code is that of the worst that was found: 0 where nothing is broken, and else
that of the first broken link.`,
		Example: `  ghapp doctor
  ghapp doctor acme/site
  ghapp doctor acme/site --redact-owner --json`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return c.runDoctor(cmd.Context(), args, redactOwner) },
	}
	cmd.Flags().BoolVar(&redactOwner, "redact-owner", false,
		"print placeholders for names of owners, repositories, Apps, hosts and users")
	return cmd
}

// doctorJSON is what a program is told.
type doctorJSON struct {
	Repository string           `json:"repository"` // empty: none
	Findings   []doctor.Finding `json:"findings"`
	ExitCode   int              `json:"exit_code"`
}

func (c *command) runDoctor(ctx context.Context, args []string, redactOwner bool) error {
	names := &doctor.Names{}
	if redactOwner { // before anything has the log
		c.Stderr = hiding{c.Stderr, names}
	}
	examined, err := c.examined(ctx)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if examined.Repository, err = ghapp.ParseRepository(args[0]); err != nil {
			return err
		}
		examined.Wiki = examined.Repository.Wiki
		examined.Repository.Wiki = false // what its repository may, a wiki may
	}
	examined.Names = names
	told := doctorJSON{Repository: doctorRepository(examined.Repository), Findings: []doctor.Finding{}}
	printer := doctor.NewPrinter(c.Stdout, c.quiet, c.lookup)
	examined.Tell = func(f doctor.Finding) {
		if redactOwner {
			f = names.HideIn(f)
		}
		told.Findings = append(told.Findings, f)
		if !c.json {
			err = errors.Join(err, printer.Write(f))
		}
	}
	code, ended := doctor.Examine(ctx, examined)
	if ended != nil {
		return ended
	}
	told.ExitCode = code
	switch {
	case err != nil:
		return err
	case c.json:
		if redactOwner {
			told.Repository = names.Hide(told.Repository)
		}
		err = term.JSON(c.Stdout, told)
	default:
		err = printer.End(told.Findings)
	}
	if err == nil && code != 0 {
		err = &examinedExit{code}
	}
	return err
}

func doctorRepository(r ghapp.RepositoryName) string {
	if r.Name == "" {
		return ""
	}
	return r.String()
}

// examinedExit ends with the code of what was found, of which everything is told.
type examinedExit struct{ code int }

func (e *examinedExit) Error() string { return fmt.Sprintf("a broken link (exit code %d)", e.code) }

// examined is this machine, as the commands come by it.
func (c *command) examined(ctx context.Context) (doctor.Options, error) {
	git := &gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own(), NoBare: true}
	files := &gitconfig.Files{Git: git}
	o := doctor.Options{
		Version: c.release(), Environ: c.Environ, Own: c.apps().Own(),
		Load: func() (*config.Config, error) {
			return config.Load(c.apps().ConfigOptions())
		},
		Key: func(ctx context.Context, s config.AppSettings) (signer.Signer, error) {
			return c.apps().Key(ctx, s, nil) // asked of its holder, and not remembered
		},
		Broker: c.apps().Broker,
		KeyBefore: func(s config.AppSettings) func(context.Context) (ghapp.Signer, error) {
			return c.apps().PreviousKey(s, nil)
		},
		Reach: func(s config.AppSettings) (ghapp.Config, error) {
			reach, err := c.apps().ReachFor(s)
			reach.Log = c.doctorLog()
			return reach, err
		},
		Cache: func() (ghapp.Store, string, error) {
			files, dir, err := c.apps().Cache()
			if err != nil || files == nil {
				return nil, dir, err
			}
			return files, dir, nil
		},
		Entries: files.Entries,
		Netrc:   files.Netrc,
		Agent:   c.examineAgent,
		Waits: func(link string) {
			c.progress("ghapp: still looking at the link %s", link)
		},
	}
	if origin, err := gitsession.OriginRemote(ctx, git); err == nil {
		origin.Wiki = false
		o.Origin = origin
	}
	return o, ctx.Err()
}

// doctorLog tells the requests with -v; what goes wrong with them, the findings tell.
func (c *command) doctorLog() *slog.Logger {
	if c.verbose {
		return c.log()
	}
	return term.NewLogger(io.Discard, slog.LevelError)
}

// examineAgent asks the user's agent who it is.
func (c *command) examineAgent(ctx context.Context) (doctor.AgentReport, error) {
	path, err := c.agentSocket()
	if err != nil {
		return doctor.AgentReport{}, fmt.Errorf("%w: %w", agentproto.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, agentPatience, fmt.Errorf("it did not answer within %s", agentPatience))
	defer cancel()
	report := doctor.AgentReport{Socket: path}
	status, err := agentserver.AskStatus(ctx, path)
	if err != nil {
		return report, err
	}
	report.Text = status.String()
	for _, a := range status.Apps {
		report.Keys = append(report.Keys, doctor.AgentKey{App: a.App, Host: a.Host, Fingerprint: a.Fingerprint, Next: a.Next})
	}
	return report, nil
}

// hiding puts placeholders for names into the lines that are written to it.
type hiding struct {
	io.Writer
	names *doctor.Names
}

// Write implements [io.Writer]. The log writes a whole line at once.
func (h hiding) Write(b []byte) (int, error) {
	if _, err := io.WriteString(h.Writer, h.names.Hide(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
