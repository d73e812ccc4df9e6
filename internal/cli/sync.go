//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/syncer"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// syncOptions are what the command line says of all directories that are kept, and, in
// one, of a directory that the config file does not name.
type syncOptions struct {
	one config.Sync
	config.SyncProcess
}

// field is where the value of an option is.
func (o *syncOptions) field(option config.Option) any {
	if option.Process {
		return o.SyncProcess.Field(option.Key)
	}
	return o.one.Field(option.Key)
}

func (c *command) sync() *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync REPO --to DIR [flags]",
		Short: "Keep a directory at a branch, a tag or a version",
		Long: `Brings a directory to the commit that a branch is at, and with --watch keeps it there.
What the commit has is fetched, built beside the directory, checked, written to the disk
and published by one rename: DIR is a symbolic link to it (or, with --mode dir, a
directory that is exchanged). Whatever goes wrong, the directory shows what it showed
before, and the next pass goes on from there. A force push is nothing special.

REPO is owner/name or an address. Instead, names of directories in the config file may
stand there, or --all:

  sync:
    site:
      repository: acme/site
      branch: deployment
      to: /srv/site
      exec: systemctl reload nginx

A pass that finds nothing new is one request, and no process.

With --watch, SIGHUP has the configuration and the files of secrets read anew, all or nothing,
and SIGUSR1 has every directory asked about at once.

Each flag has a variable as well, for containers: --check-timeout is
GHAPP_SYNC_CHECK_TIMEOUT, REPO is GHAPP_SYNC_REPOSITORY, and those that are called otherwise
say so below. A flag counts more than its variable.

The commands of --check and --exec get GHAPP_REPO, GHAPP_REF, GHAPP_COMMIT,
GHAPP_PREVIOUS, GHAPP_DIR and GHAPP_RELEASE, and no secret of ghapp's. The check runs in
the new release, and must succeed before that is published; it may build something there.`,
		Example: `  ghapp sync acme/site --branch deployment --to /srv/site
  ghapp sync acme/site --version '^2' --to /srv/site --watch --check ./smoke-test --exec 'systemctl reload nginx'
  ghapp sync --all --watch --webhook :8080 --webhook-secret-file /etc/ghapp/webhook
  ghapp sync status
  ghapp sync rollback /srv/site`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			entries, err := c.syncEntries(cmd.Flags(), args, &o)
			if err != nil {
				return err
			}
			return c.runSync(cmd.Context(), entries, o.SyncProcess)
		},
	}
	o.Jobs = watch.DefaultJobs
	// An option is a row in internal/config/syncoptions.go.
	for _, option := range config.SyncOptions() {
		if option.Key != "repository" { // that is the argument
			addOptionFlag(cmd.Flags(), option, o.field(option))
		}
	}
	cmd.AddCommand(c.syncStatus(), c.syncRollback(), c.syncResume())
	return cmd
}

// fromVariables takes from the environment what no flag says. It returns the names of the
// variables that are about one directory.
func (c *command) fromVariables(flags *pflag.FlagSet, o *syncOptions) (ofOne []string, err error) {
	wanted := false // by a flag: a variable for another thing to be at is passed over
	for _, option := range config.SyncOptions() {
		wanted = wanted || option.IsRevision() && flags.Changed(option.Flag())
	}
	for _, option := range config.SyncOptions() {
		if flags.Changed(option.Flag()) || wanted && option.IsRevision() || option.Key == "notify" {
			continue // a secret; the receiver is looked up when it is needed
		}
		set, err := option.FromVariable(c.lookup, o.field(option))
		if err != nil {
			return nil, &fault.SettingError{Err: err}
		}
		if set && !option.Process {
			ofOne = append(ofOne, option.Variable())
		}
	}
	return ofOne, nil
}

// entries are the directories that the command line is about, by the configuration of an Opener.
type entries func(*apps.Opener) ([]config.Sync, error)

// syncEntries reads the command line and the variables.
func (c *command) syncEntries(flags *pflag.FlagSet, args []string, o *syncOptions) (entries, error) {
	wrong := func(format string, args ...any) (entries, error) {
		return nil, &fault.UsageError{Err: fmt.Errorf(format, args...)}
	}
	wrongFor := func(hint, format string, args ...any) (entries, error) {
		return nil, &fault.UsageError{Err: fmt.Errorf(format, args...), Hint: hint}
	}
	ofOne, err := c.fromVariables(flags, o)
	if err != nil {
		return nil, err
	}
	for _, option := range config.SyncOptions() {
		switch name := option.Flag(); {
		case !flags.Changed(name):
		case option.Watching && !o.Watch:
			return wrongFor("leave it out, or give --watch as well", "--%s is for --watch, and one pass has no use for it", name)
		case !option.Process:
			ofOne = append(ofOne, "--"+name)
		}
	}
	if len(args) == 0 && !o.All && o.one.Repository != "" {
		args = []string{o.one.Repository}
	}
	switch {
	case o.Force && o.Watch:
		return wrong("--force is for one pass, and --watch makes many")
	case o.Webhook == "" && (flags.Changed("webhook-secret-file") || flags.Changed("sync-secret-file")):
		return wrong("there is a secret for the webhook, but no --webhook ADDRESS")
	case o.All && len(args) > 0:
		return wrong("--all stands in the place of %q", args)
	case !o.All && len(args) == 0:
		return wrong("name a repository, directories of the config file, or --all")
	case !o.All && strings.ContainsAny(args[0], "/:"):
		list, err := c.oneEntry(args, o)
		return func(*apps.Opener) ([]config.Sync, error) { return list, nil }, err
	case len(ofOne) > 0:
		return wrongFor("write it without the dashes under sync: NAME:, or for all under sync_defaults:, in the config file",
			"%s is for a repository that is named here; for directories of the config file it stands there",
			strings.Join(ofOne, " "))
	}
	return func(opener *apps.Opener) ([]config.Sync, error) { return entriesOfFile(opener, o.All, args) }, nil
}

// entriesOfFile are directories that the config file names.
func entriesOfFile(opener *apps.Opener, all bool, names []string) ([]config.Sync, error) {
	loaded, err := opener.Load()
	if err != nil {
		return nil, err
	}
	known := loaded.Syncs()
	switch {
	case all && len(known) == 0:
		path, _ := loaded.Path()
		return nil, &fault.SettingError{
			Err:  errors.New("the config file names no directory to keep"),
			Hint: "write it under sync: in " + path.Text + ", as `ghapp sync --help` shows",
		}
	case all:
		return known, nil
	}
	return namedEntries(known, names, "status", "rollback", "resume")
}

// oneEntry is what flags say of a repository.
func (c *command) oneEntry(args []string, o *syncOptions) ([]config.Sync, error) {
	if len(args) > 1 {
		return nil, &fault.UsageError{Err: fmt.Errorf(
			"several directories are kept from the config file; here is one repository, and also %q", args[1:])}
	}
	if o.one.To == "" {
		return nil, &fault.UsageError{Err: errors.New("--to DIR is missing: the directory to keep")}
	}
	path, err := filepath.Abs(o.one.To)
	if err != nil {
		return nil, err
	}
	if file := o.one.AllowedSigners; file != "" {
		if o.one.AllowedSigners, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		o.one.VerifySignatures = true
	}
	o.one.Repository, o.one.To, o.one.Name = args[0], path, filepath.Base(path)
	return []config.Sync{o.one}, nil
}

// namedEntries are those of some names. Where one is not known, it may be one of the words
// that could stand in its place.
func namedEntries(known []config.Sync, names []string, words ...string) ([]config.Sync, error) {
	var list []config.Sync
	for _, name := range names {
		entry, ok := entryNamed(known, name)
		if !ok {
			var all []string
			for _, s := range known {
				all = append(all, s.Name)
			}
			hint := "a repository is written owner/name; the config file names no directory to keep"
			if len(all) > 0 {
				hint = "a repository is written owner/name; directories of the config file: " + strings.Join(all, ", ")
			}
			if meant := spelling.Nearest(name, append(all, words...)); meant != "" {
				hint = spelling.DidYouMean(meant) + " " + hint
			}
			return nil, noDirectory(name, hint)
		}
		list = append(list, entry)
	}
	return list, nil
}

func noDirectory(name, hint string) error {
	return &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("the config file has no directory %q", name), Hint: hint}
}

func entryNamed(known []config.Sync, name string) (config.Sync, bool) {
	for _, s := range known {
		if s.Name == name {
			return s, true
		}
	}
	return config.Sync{}, false
}

// runSync brings directories to their commits, once or until ctx ends.
func (c *command) runSync(ctx context.Context, entries entries, o config.SyncProcess) error {
	log := c.syncLog(o)
	s, err := syncer.New(ctx, syncer.Options{
		Opener: c.apps(), Entries: entries, Process: o, Log: log, Show: c.showExec(log),
		Output: c.gitOutput(), Version: c.release(),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if o.Watch {
		return s.Watch(ctx)
	}
	list, err := s.Once(ctx)
	return errors.Join(c.printSynced(ctx, list), err)
}

// showExec shows a person what the command after a release prints. It is nil where a log does
// (--verbose), or nobody is there.
func (c *command) showExec(log *slog.Logger) func(line string) bool {
	if c.json || log.Enabled(context.Background(), slog.LevelInfo) {
		return nil
	}
	return func(line string) bool {
		c.progress("%s", line)
		return !c.quiet
	}
}

// synced is what became of a directory, for programs.
type synced struct {
	Name       string  `json:"name"`
	Directory  string  `json:"directory"`
	Repository string  `json:"repository"`
	Outcome    string  `json:"outcome"`
	Commit     string  `json:"commit,omitempty"`
	Release    string  `json:"release,omitempty"`
	Bytes      int64   `json:"fetched_bytes"`
	Seconds    float64 `json:"seconds"`
	// Unapplied are the commands that have not run for what is published: check, exec.
	Unapplied []string     `json:"unapplied,omitempty"`
	Error     *diag.Report `json:"error,omitempty"`
}

// printSynced prints what became of directories in one pass. The error is that of the pass, or an
// exit code where there are several.
func (c *command) printSynced(ctx context.Context, results []syncer.Result) error {
	var list []synced
	var failed []error
	for _, r := range results {
		s := synced{
			Name: r.Entry.Name, Directory: r.Entry.To, Repository: r.Repository.String(), Outcome: string(r.Outcome),
			Commit: r.Commit, Release: r.Release, Bytes: r.Bytes, Seconds: r.Took.Round(time.Millisecond).Seconds(),
			Unapplied: r.Unapplied,
		}
		if r.Err != nil {
			report := diag.Explain(r.Err)
			s.Error = &report
			failed = append(failed, r.Err)
		} else if !c.json {
			c.tellSynced(r)
		}
		list = append(list, s)
	}
	if c.json {
		if err := term.JSON(c.Stdout, list); err != nil {
			return err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(list) == 1 && !c.json:
		return failed[0]
	}
	worst := 0
	for _, err := range failed {
		report := diag.Explain(err)
		if !c.json {
			c.report(report)
		}
		worst = max(worst, report.ExitCode)
	}
	return &examinedExit{worst}
}

// tellSynced tells a person of a directory that is at its commit.
func (c *command) tellSynced(r syncer.Result) {
	at := fmt.Sprintf("%s is at %s of %s", r.Entry.To, shortly(r.Commit), r.Repository)
	if r.Outcome == watch.Published {
		c.progress("%s now (%s).", at, r.Revision)
		return
	}
	c.progress("%s (%s); nothing is new.", at, r.Revision)
	if len(r.Unapplied) > 0 {
		c.progress("Not run for what is published already: %s. With --force it is built and published anew, with that.",
			strings.Join(r.Unapplied, ", "))
	}
}

// shortly is how a commit is shown.
func shortly(commit string) string { return commit[:min(12, len(commit))] }

// directoryOf is the target of a name in the config file, or of a path, which has a slash
// in it. A path that the file names, too, is what the file says; of another, the mode is
// that of what lies there.
func (c *command) directoryOf(name string) (*deploy.Target, string, error) {
	if !strings.Contains(name, "/") && name != "." && name != ".." {
		loaded, err := c.apps().Load()
		if err != nil {
			return nil, "", err
		}
		entries, err := namedEntries(loaded.Syncs(), []string{name})
		if err != nil {
			if _, there := os.Lstat(name); there == nil {
				err = noDirectory(name, "a path has a slash in it: ./"+name)
			}
			return nil, "", err
		}
		return syncer.Target(entries[0]), name, nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, "", err
	}
	// A rollback must not fail because the file has a mistake in it.
	if loaded, err := c.apps().Load(); err == nil {
		for _, s := range loaded.Syncs() {
			if s.To == path {
				return syncer.Target(s), s.Name, nil
			}
		}
	}
	t := &deploy.Target{Dir: path}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		t.Mode = deploy.Directory
	}
	return t, filepath.Base(path), nil
}
