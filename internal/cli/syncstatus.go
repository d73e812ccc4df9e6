//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/syncer"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// directoryStatus is what is known of a directory, for programs.
type directoryStatus struct {
	Name      string            `json:"name"`
	Directory string            `json:"directory"`
	Published *deploy.Release   `json:"published"`
	Releases  []*deploy.Release `json:"releases"`
	Held      []string          `json:"held_commits"`
	Damage    string            `json:"damage,omitempty"`
	Failure   *deploy.Failure   `json:"failure,omitempty"`
	Error     *diag.Report      `json:"error,omitempty"`
}

func (c *command) syncStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME|DIR...]",
		Short: "Show what is published, and which releases are kept",
		Long: `Shows what each directory is at, and the releases that are kept for a rollback. Without
a name, all directories of the config file are shown. Nothing is asked of GitHub, but
every file of the published release is looked at.

Exits with 0 where all are whole, and with 1 where one is not, or shows nothing, or where
the last pass or the command after the release has failed; then it says when a watch tries
again.`,
		Example: `  ghapp sync status
  ghapp sync status /srv/site --json`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				loaded, err := c.apps().Load()
				if err != nil {
					return err
				}
				for _, s := range loaded.Syncs() {
					args = append(args, s.Name)
				}
				if len(args) == 0 {
					return &fault.UsageError{Err: errors.New("the config file names no directory; give one here")}
				}
			}
			return c.showStatus(args)
		},
	}
}

func (c *command) showStatus(names []string) error {
	list := []directoryStatus{}
	rows := [][]string{{"NAME", "DIRECTORY", "RELEASE", "REPOSITORY", "REF", "COMMIT", "PUBLISHED", "STATE"}}
	wrong := false
	for _, name := range names {
		t, shown, err := c.directoryOf(name)
		if err != nil {
			return err
		}
		s := directoryStatus{Name: shown, Directory: t.Dir, Held: []string{}, Releases: []*deploy.Release{}}
		status, err := t.Status()
		if err != nil {
			report := diag.Explain(err)
			s.Error, wrong = &report, true
			rows = append(rows, []string{shown, t.Dir, "-", "-", "-", "-", "-", report.Message})
			list = append(list, s)
			continue
		}
		s.Published, s.Held = status.Published, append(s.Held, status.Held...)
		s.Releases = append(s.Releases, status.Releases...)
		if status.Damage != nil {
			s.Damage = status.Damage.Error()
		}
		s.Failure = status.Failure
		wrong = wrong || status.Damage != nil || status.Failure != nil ||
			status.Published == nil || status.Published.ExecFailed()
		list = append(list, s)
		rows = append(rows, statusRows(shown, t, status)...)
	}
	var err error
	if c.json {
		err = term.JSON(c.Stdout, list)
	} else {
		err = term.Table(c.Stdout, rows)
	}
	if err == nil && wrong {
		err = &examinedExit{fault.Failed}
	}
	return err
}

// statusRows are the published release, and below it the others, the newest first.
func statusRows(name string, t *deploy.Target, s *deploy.Status) [][]string {
	if s.Published == nil {
		state := "nothing is published"
		if s.Failure != nil {
			state += "; " + lastFailed(s.Failure)
		}
		return [][]string{{name, t.Dir, "-", "-", "-", "-", "-", state}}
	}
	row := func(name, dir string, r *deploy.Release, state string) []string {
		published := "-"
		if !r.PublishedAt.IsZero() {
			published = ago(time.Since(r.PublishedAt))
		}
		commit := shortly(term.OrDash(r.Commit))
		return []string{name, dir, r.ID, term.OrDash(r.Repository), term.OrDash(r.Ref), commit, published, state}
	}
	state := "published"
	switch {
	case s.Damage != nil:
		state = "published, but " + s.Damage.Error()
	case s.Published.ExecFailed():
		state = "published, but the command after it failed"
		if n := s.Published.ExecFailures; n > 1 {
			state += fmt.Sprintf(" %d times", n)
		}
	case s.Published.ExecPending():
		state = "published; the command after it has not ended yet"
	}
	if s.Failure != nil {
		state += "; " + lastFailed(s.Failure)
	}
	rows := [][]string{row(name, t.Dir, s.Published, state)}
	for i := len(s.Releases) - 1; i >= 0; i-- {
		r := s.Releases[i]
		if r.ID == s.Published.ID {
			continue
		}
		state := "kept"
		for _, held := range s.Held {
			if held == r.Commit {
				state = "kept; held after a rollback"
			}
		}
		rows = append(rows, row("", "", r, state))
	}
	return rows
}

// lastFailed says how the last pass has failed, and when there is another one.
func lastFailed(f *deploy.Failure) string {
	said := "the last pass (" + ago(time.Since(f.At)) + ") failed: " + f.Message
	if !f.Again.IsZero() {
		said += fmt.Sprintf("; tried again at %s (in %d seconds)", f.Again.Format(time.RFC3339), syncer.InSeconds(f.Again))
	}
	return said
}

// ago is a time in the past, for people.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(max(int(d/time.Second), 0)) + "s ago"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h ago"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d ago"
}

func (c *command) syncRollback() *cobra.Command {
	var to string
	var rebuild, asIs bool
	cmd := &cobra.Command{
		Use:   "rollback NAME|DIR [--to RELEASE]",
		Short: "Publish the release before again, by one rename",
		Long: `Publishes the release before the present one again, or the one that --to names. Nothing is
asked of GitHub. The commit that is left is held: ghapp sync does not publish it again, with
--watch or without, until the branch is at another one, or ghapp sync resume says so.

What was published and checked then is what is published again: a release of which a file
was changed since, or is missing, is refused. With --rebuild it is built again from what
was fetched, and checked again; with --as-is it is published as it is now.

The command after a release (exec: in the config file) runs for a directory that is named
as the config file does.`,
		Example: `  ghapp sync rollback site
  ghapp sync rollback /srv/site --to 000041-1f7a7a472abf`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			damaged := deploy.Refuse
			switch {
			case rebuild && asIs:
				return &fault.UsageError{Err: errors.New("--rebuild and --as-is are two ways, and one is to be taken")}
			case rebuild:
				damaged = deploy.Rebuild
			case asIs:
				damaged = deploy.AsIs
			}
			t, _, err := c.directoryOf(args[0])
			if err != nil {
				return err
			}
			return c.runRollback(cmd.Context(), t, to, damaged)
		},
	}
	cmd.Flags().StringVar(&to, "to", "",
		"the `RELEASE` to publish again, as ghapp sync status shows it; its number is enough")
	cmd.Flags().BoolVar(&rebuild, "rebuild", false,
		"build a release again of which a file was changed, and check it again")
	cmd.Flags().BoolVar(&asIs, "as-is", false, "publish a release although a file of it was changed")
	return cmd
}

func (c *command) runRollback(ctx context.Context, t *deploy.Target, to string, damaged deploy.Damaged) error {
	git := gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own()}
	t.Git, t.Environ, t.Log = git, git.Plain(), c.log()
	shown := &syncer.Shown{Show: c.showExec(t.Log)}
	t.Printed = shown.Printed
	r, err := t.Rollback(ctx, to, damaged)
	if err != nil {
		return shown.Once(err)
	}
	if c.json {
		return term.JSON(c.Stdout, r)
	}
	c.progress("%s is at %s again (release %s).", t.Dir, shortly(r.Commit), r.ID)
	if len(r.Held) > 0 {
		c.progress("Held, until the branch is at another commit or ghapp sync resume says so: %s.", heldList(r.Held))
	}
	return nil
}

func (c *command) syncResume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME|DIR",
		Short: "Let the commit be published again that was rolled back from",
		Args:  usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, _, err := c.directoryOf(args[0])
			if err != nil {
				return err
			}
			if _, err := os.Stat(t.Dir); err != nil {
				return &fault.UsageError{Err: fmt.Errorf("there is nothing at %s", t.Dir)}
			}
			released, err := t.Resume(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return term.JSON(c.Stdout, map[string]any{"directory": t.Dir, "released_commits": append([]string{}, released...)})
			case len(released) == 0:
				c.progress("No commit is held in %s: it follows its branch as before.", t.Dir)
			default:
				c.progress("%s follows its branch again; not held any more: %s.", t.Dir, heldList(released))
			}
			return nil
		},
	}
}

// heldList are commits that are held, for people.
func heldList(commits []string) string {
	var list []string
	for _, commit := range commits {
		list = append(list, shortly(commit))
	}
	return strings.Join(list, ", ")
}
