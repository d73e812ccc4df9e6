//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mirrorOptions are what the command line says of all mirrors, and, in one, of a mirror that
// the config file does not name.
type mirrorOptions struct {
	one config.Mirror
	config.MirrorProcess
}

// field is where the value of an option is.
func (o *mirrorOptions) field(option config.Option) any {
	if option.Process {
		return o.MirrorProcess.Field(option.Key)
	}
	return o.one.Field(option.Key)
}

func (c *command) mirror() *cobra.Command {
	o := mirrorOptions{one: config.DefaultMirror()}
	o.Period = config.DefaultMirrorPeriod
	cmd := &cobra.Command{
		Use:   "mirror [OWNER...] --to DIR [flags]",
		Short: "Keep all repositories that the App reaches, and their history",
		Long: `Keeps every repository that the App reaches as a bare repository at DIR/OWNER/NAME.git, of
which any git can clone at any time: branches, tags and notes, and what flags say besides.
All owners that have the App installed, or those that are named.

Mirrors are known by GitHub's ID of their repository: a rename or a transfer is one rename
here. Nothing that was once there is lost: what a force push or a deleted branch left behind
is kept under refs/ghapp/kept/, with the time, for --keep-history. A mirror whose repository
is gone, not selected any more or suspended stays; with --prune it goes once GitHub has said
for --prune-after that the repository is not there, and never more than a tenth at once.

With --lfs the mirror has all files of Git LFS that any of its refs needs, where git-lfs looks
for them in a clone of it; git-lfs itself is not needed here. With --pull-requests it has
refs/pull/*/head and what GitHub would merge of each at refs/pull/*/merge, of which, since it
is made anew all the time, nothing is kept. A pull request from a fork may be seen only once in
--full-every.

GitHub is asked in one question for a hundred repositories what has changed; git is asked
about those alone, and about each at least once in --full-every.

Instead of OWNER, names of mirrors in the config file may stand there, or --all:

  mirror:
    everything:
      to: /srv/mirrors
      exclude: ['*/scratch-*']
      keep_history: forever

Each flag has a variable as well, for containers: --keep-history is
GHAPP_MIRROR_KEEP_HISTORY, OWNER is GHAPP_MIRROR_OWNERS. A flag counts more than its variable.

Exits with 1 where something failed, after everything else is done; what failed is tried
again at the next run. ` + "`ghapp mirror status`" + ` shows how each mirror is.`,
		Example: `  ghapp mirror acme --to /srv/mirrors
  ghapp mirror --to /srv/mirrors --exclude '*/scratch-*' --no-forks --wikis
  ghapp mirror --all
  ghapp mirror status /srv/mirrors
  ghapp mirror list --gone /srv/mirrors`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			entries, err := c.mirrorEntries(cmd.Flags(), args, &o)
			if err != nil {
				return err
			}
			return c.runMirrors(cmd.Context(), entries, o.MirrorProcess)
		},
	}
	// An option is a row in internal/config/mirroroptions.go.
	for _, option := range config.MirrorOptions() {
		if option.Key != "owners" { // those are the arguments
			addOptionFlag(cmd.Flags(), option, o.field(option))
		}
	}
	cmd.AddCommand(c.mirrorList(), c.mirrorStatus(), c.mirrorVerify(), c.mirrorRestore(), c.mirrorBundle())
	return cmd
}

// mirrorEntries are the mirrors that the command line is about, by the configuration of an Opener.
type mirrorEntries func(*apps.Opener) ([]config.Mirror, error)

// mirrorEntries reads the command line and the variables.
func (c *command) mirrorEntries(flags *pflag.FlagSet, args []string, o *mirrorOptions) (mirrorEntries, error) {
	wrong := func(format string, args ...any) (mirrorEntries, error) {
		return nil, &fault.UsageError{Err: fmt.Errorf(format, args...)}
	}
	var ofOne []string
	for _, option := range config.MirrorOptions() {
		name := option.Flag()
		if flags.Changed(name) {
			if option.Watching && !o.Watch {
				return wrong("--%s is for --watch, and one run has no use for it", name)
			}
			if !option.Process {
				ofOne = append(ofOne, "--"+name)
			}
			continue
		}
		if option.Key == "notify" {
			continue // a secret; the receiver is looked up when it is needed
		}
		field := o.field(option)
		if list, ok := field.(*[]string); ok && option.Key == "owners" && len(args) > 0 {
			*list = nil // who is named counts more
			continue
		}
		set, err := option.FromVariable(c.lookup, field)
		if err != nil {
			return nil, &fault.SettingError{Err: err}
		}
		if set && !option.Process {
			ofOne = append(ofOne, option.Variable())
		}
	}
	switch {
	case o.Full && o.Watch:
		return wrong("--full is for one run; with --watch each mirror is compared once in the time of --full-every")
	case o.Webhook == "" && flags.Changed("webhook-secret-file"):
		return wrong("there is a secret for the webhook, but no --webhook ADDRESS")
	case o.All && len(args) > 0:
		return wrong("--all stands in the place of %q", args)
	case !o.All && o.one.To != "":
		list, err := c.oneMirror(args, o)
		return func(*apps.Opener) ([]config.Mirror, error) { return list, nil }, err
	case len(ofOne) > 0:
		return wrong("%s is for a directory that is named here with --to; for mirrors of the config file it stands there",
			strings.Join(ofOne, " "))
	case !o.All && len(args) == 0:
		return wrong("--to DIR is missing: the directory to keep mirrors in; or name mirrors of the config file, or --all")
	}
	return func(opener *apps.Opener) ([]config.Mirror, error) { return mirrorsOfFile(opener, o.All, args) }, nil
}

// oneMirror is what flags say of a directory.
func (c *command) oneMirror(owners []string, o *mirrorOptions) ([]config.Mirror, error) {
	path, err := filepath.Abs(o.one.To)
	if err != nil {
		return nil, err
	}
	options := config.MirrorOptions()
	option := options[slices.IndexFunc(options, func(o config.Option) bool { return o.Key == "owners" })]
	for _, owner := range owners {
		if owner == "" { // as of a variable that is not set: it must not stand for all
			return nil, &fault.UsageError{Err: errors.New("an empty OWNER is nobody"),
				Hint: "name an owner, or none for all that have the App installed"}
		}
		if err := option.Assign(&o.one.Owners, owner); err != nil {
			return nil, &fault.UsageError{Err: fmt.Errorf("%q: %w", owner, err)}
		}
	}
	o.one.To, o.one.Name = path, filepath.Base(path)
	return []config.Mirror{o.one}, nil
}

// mirrorsOfFile are mirrors that the config file names.
func mirrorsOfFile(opener *apps.Opener, all bool, names []string) ([]config.Mirror, error) {
	loaded, err := opener.Load()
	if err != nil {
		return nil, err
	}
	known := loaded.Mirrors()
	if all && len(known) == 0 {
		path, _ := loaded.Path()
		return nil, &fault.SettingError{
			Err:  errors.New("the config file names no mirror"),
			Hint: "write it under mirror: in " + path.Text + ", as `ghapp mirror --help` shows",
		}
	}
	if all {
		return known, nil
	}
	var list []config.Mirror
	for _, name := range names {
		at := slices.IndexFunc(known, func(m config.Mirror) bool { return m.Name == name })
		if at < 0 {
			hint := "owners are named with --to DIR: ghapp mirror " + strings.Join(names, " ") + " --to DIR"
			if meant := spelling.Nearest(name, append(namesOf(known), "list", "status")); meant != "" {
				hint = spelling.DidYouMean(meant) + " " + hint
			}
			return nil, &fault.ExitError{
				Code: fault.Usage, Err: fmt.Errorf("the config file has no mirror %q", name), Hint: hint,
			}
		}
		list = append(list, known[at])
	}
	return list, nil
}

// runMirrors brings mirrors up to date, once or until ctx ends.
func (c *command) runMirrors(ctx context.Context, entries mirrorEntries, o config.MirrorProcess) error {
	if o.Watch {
		return mirror.Watch(ctx, mirror.WatchOptions{
			Opener: c.apps(), Entries: entries, Process: o, Version: c.release(), Log: c.mirrorLog(o),
		})
	}
	list, err := entries(c.apps())
	if err != nil {
		return err
	}
	var runs []*mirror.Run
	defer func() {
		for _, r := range runs {
			r.Close()
		}
	}()
	board := c.mirrorBoard(o)
	for _, entry := range list {
		run, err := mirror.Open(ctx, mirror.Options{
			Opener: c.apps(), Entry: entry, Observer: board.observer(), Log: c.mirrorLog(o),
		})
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	return c.mirrorOnce(ctx, runs, o, board)
}

// mirrorOnce makes one pass of each.
func (c *command) mirrorOnce(
	ctx context.Context, runs []*mirror.Run, o config.MirrorProcess, board *mirrorBoard,
) error {
	var list []mirrored
	var failed []error
	for _, run := range runs {
		board.begin()
		report, err := run.Pass(ctx, mirror.Request{Full: o.Full})
		if err == nil {
			err = report.None
		}
		board.end()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		list = append(list, newMirrored(run.Entry, report, err))
		if !c.json {
			c.tellMirrored(run.Entry, report, err)
		}
		if err != nil {
			failed = append(failed, err)
		} else if len(report.Failed) > 0 || report.Stopped != nil {
			failed = append(failed, &examinedExit{fault.Failed})
		}
	}
	if c.json {
		if err := term.JSON(c.Stdout, list); err != nil {
			return err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == 1 && !c.json:
		return failed[0]
	}
	worst := 0
	for _, err := range failed {
		if exit, ok := errors.AsType[*examinedExit](err); ok {
			worst = max(worst, exit.code)
			continue
		}
		report := diag.Explain(err)
		if !c.json {
			c.report(report)
		}
		worst = max(worst, report.ExitCode)
	}
	return &examinedExit{worst}
}

// mirrored is what became of a pass, for programs.
type mirrored struct {
	Name      string          `json:"name"`
	Directory string          `json:"directory"`
	Mirrors   int             `json:"mirrors"`
	Fresh     int             `json:"fresh"`
	Made      int             `json:"made"`
	Changed   int             `json:"changed"`
	Compared  int             `json:"compared"`
	Moved     int             `json:"moved"`
	Large     int             `json:"lfs_files,omitempty"`
	Kept      int             `json:"refs_kept"`
	Gone      []string        `json:"gone,omitempty"`
	Pruned    []string        `json:"pruned,omitempty"`
	Held      string          `json:"prune_held,omitempty"`
	Bytes     int64           `json:"fetched_bytes"`
	Calls     int64           `json:"api_calls"`
	Requests  int64           `json:"git_requests"`
	Processes int64           `json:"git_processes"`
	Seconds   float64         `json:"seconds"`
	Failed    []mirrorFailure `json:"failed"`
	Waiting   int             `json:"waiting_failures,omitempty"`
	Error     *diag.Report    `json:"error,omitempty"`
}

// mirrorFailure is one failure, for programs.
type mirrorFailure struct {
	Repository string      `json:"repository,omitempty"`
	Account    string      `json:"account,omitempty"`
	Wiki       bool        `json:"wiki,omitempty"`
	LFS        bool        `json:"lfs,omitempty"`
	Again      *time.Time  `json:"again,omitempty"`
	Error      diag.Report `json:"error"`
}

func newMirrored(entry config.Mirror, r *mirror.Report, err error) mirrored {
	m := mirrored{
		Name: entry.Name, Directory: entry.To, Mirrors: r.Mirrors, Fresh: r.Fresh, Made: r.Made, Changed: r.Changed,
		Compared: r.Compared, Moved: r.Moved, Large: r.Large,
		Kept: r.Forced + r.Deleted, Held: r.Held, Bytes: r.Bytes, Calls: r.Calls,
		Requests: r.Requests, Processes: r.Processes, Seconds: r.Took.Round(time.Millisecond).Seconds(),
		Failed: []mirrorFailure{}, Waiting: r.Waiting,
	}
	for _, g := range r.Gone {
		m.Gone = append(m.Gone, g.Name)
	}
	for _, g := range r.Pruned {
		m.Pruned = append(m.Pruned, g.Name)
	}
	for _, f := range r.Failed {
		failure := mirrorFailure{
			Repository: f.Repository, Account: f.Account, Wiki: f.Wiki, LFS: f.LFS, Error: diag.Explain(f.Err),
		}
		if !f.Again.IsZero() {
			failure.Again = &f.Again
		}
		m.Failed = append(m.Failed, failure)
	}
	if err == nil {
		err = r.Stopped
	}
	if err != nil {
		report := diag.Explain(err)
		m.Error = &report
	}
	return m
}

// mostTold is how many failures of one pass a person is told; the status has all of them.
const mostTold = 20

// tellMirrored tells a person what became of a pass.
func (c *command) tellMirrored(entry config.Mirror, r *mirror.Report, err error) {
	for _, f := range r.Failed[:min(len(r.Failed), mostTold)] {
		report := diag.Explain(f.Err)
		name := f.Repository
		switch {
		case name == "":
			name = f.Account
		case f.Wiki:
			name += ".wiki"
		}
		if f.Repository != "" || !strings.Contains(report.Message, name) {
			report.Message = name + ": " + report.Message
		}
		report.Errors = nil
		c.report(report)
	}
	if more := len(r.Failed) - mostTold; more > 0 {
		c.report(diag.Report{Message: fmt.Sprintf("and %d more failed", more),
			Hint: "ghapp mirror status " + c.mirrorWord(entry) + " shows all of them"})
	}
	if r.Stopped != nil {
		c.report(diag.Explain(r.Stopped))
	}
	for _, g := range r.Gone {
		c.progress("%s is not kept up to date any more (%s); its mirror stays, with all of its history.",
			g.Name, reasonText(g.Gone))
	}
	for _, g := range r.Pruned {
		c.progress("%s was pruned: GitHub has not had it since %s.", g.Name, g.Gone.Since.UTC().Format(time.DateOnly))
	}
	if r.Held != "" {
		c.progress("Not pruned: %s. Look at `ghapp mirror list --gone %s`.", r.Held, c.mirrorWord(entry))
	}
	if err != nil {
		return
	}
	c.progress("%s", summary(entry, r))
	switch {
	case len(r.Failed) > 0:
		c.progress("What failed is tried again at the next run; `ghapp mirror status %s` shows how each is.",
			c.mirrorWord(entry))
	case r.Made > 0 && r.Made == r.Mirrors:
		c.progress("Any git can clone from them: git clone %s/OWNER/NAME.git. "+
			"Run this again, or with --watch, to keep them so.", text.ShellWord(entry.To))
	}
}

// countMirrors says how many there are.
func countMirrors(n int) string { return countOf(n, "mirror", "mirrors") }

// countOf says how many there are of something.
func countOf(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// summary is one line about a pass.
func summary(entry config.Mirror, r *mirror.Report) string {
	parts := []string{countMirrors(r.Mirrors)}
	count := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	count(r.Made, "new")
	count(r.Changed, "changed")
	count(r.Large, "large files")
	count(r.Moved, "moved")
	count(len(r.Gone), "gone")
	count(len(r.Pruned), "pruned")
	count(len(r.Failed), "failed")
	count(r.Forced+r.Deleted, "left-behind refs kept")
	switch {
	case r.Stopped != nil:
		parts = append(parts, "stopped before the end")
	case len(parts) == 1:
		parts = append(parts, "nothing is new")
	}
	if r.Bytes > 0 {
		parts = append(parts, text.Size(r.Bytes)+" fetched")
	}
	return fmt.Sprintf("%s: %s (%s).", entry.To, strings.Join(parts, ", "), r.Took.Round(10*time.Millisecond))
}

// mirrorWord is how a mirror is named on the command line, as a shell takes it.
func (c *command) mirrorWord(entry config.Mirror) string {
	if entry.Source.Kind == config.FromFile {
		return text.ShellWord(entry.Name)
	}
	return text.ShellWord(entry.To)
}
