//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// syncOptions are what the command line says of all directories that are kept, and, in
// one, of a directory that the config file does not name.
type syncOptions struct {
	one   config.Sync
	all   bool
	again bool
	watch bool
	watchOptions
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
			return c.runSync(cmd.Context(), entries, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.one.Branch, "branch", "b", "", "the branch to be at; the default branch where nothing is said")
	flags.StringVar(&o.one.Tag, "tag", "", "the tag to be at")
	flags.StringVar(&o.one.Commit, "commit", "", "the commit to be at, 40 hexadecimal digits")
	flags.StringVar(&o.one.Version, "version", "", "the highest tag that is a semantic version and fits this, such as '*' or '^1.4'")
	flags.StringVar(&o.one.To, "to", "", "the `DIR` to keep")
	flags.StringVar(&o.one.Mode, "mode", "", "link: DIR is a symbolic link (the default); dir: a directory, exchanged in one step")
	flags.IntVar(&o.one.Keep, "keep", 0, fmt.Sprintf("how many releases stay, for rollback (default %d)", deploy.DefaultKeep))
	flags.IntVar(&o.one.Depth, "depth", 0, "how many commits of the history are fetched (default 1)")
	flags.StringVar(&o.one.Filter, "filter", "", "leave objects out until they are needed, such as blob:none")
	flags.StringSliceVar(&o.one.Sparse, "sparse", nil, "only these `PATHS`, files or directories; separated by commas")
	flags.BoolVar(&o.one.Submodules, "submodules", false, "check out submodules too, and theirs")
	flags.BoolVar(&o.one.LFS, "lfs", false, "the large files of Git LFS instead of their pointers")
	flags.StringSliceVar(&o.one.FsckIgnore, "fsck-ignore", nil, "leave these `CHECKS` of git's out, such as duplicateEntries; separated by commas")
	flags.BoolVar(&o.one.VerifySignatures, "verify-signatures", false, "publish only commits with a signature that git accepts")
	flags.StringVar(&o.one.AllowedSigners, "allowed-signers", "", "the `FILE` of ssh keys that may sign (ssh-keygen(1), ALLOWED SIGNERS)")
	flags.StringVar(&o.one.Check, "check", "", "a `COMMAND` that must succeed in the new release before it is published")
	flags.StringVar(&o.one.Exec, "exec", "", "a `COMMAND` to run in DIR once it is published")
	flags.DurationVar(&o.one.CheckTimeout, "check-timeout", 0, fmt.Sprintf("how long the check may take (default %s)", deploy.DefaultTimeout))
	flags.DurationVar(&o.one.ExecTimeout, "exec-timeout", 0, fmt.Sprintf("how long the command may take (default %s)", deploy.DefaultTimeout))
	flags.IntVar(&o.one.ExecTries, "exec-tries", 0, "how often the command is run until it succeeds (default 1)")
	flags.DurationVar(&o.one.Period, "period", 0, fmt.Sprintf("with --watch: the time between two questions (default %s)", watch.DefaultPeriod))
	flags.BoolVar(&o.all, "all", false, "all directories of the config file")
	flags.BoolVar(&o.again, "again", false, "build and publish anew what is published already")
	flags.BoolVarP(&o.watch, "watch", "w", false, "go on until interrupted")
	o.watchOptions.add(flags)
	cmd.AddCommand(c.syncStatus(), c.syncRollback(), c.syncResume())
	return cmd
}

// ofAll are the flags that are about the process, and not about one directory.
var ofAll = map[string]bool{
	"all": true, "again": true, "watch": true, "webhook": true, "webhook-secret-file": true, "sync-secret-file": true, "status": true,
	"notify": true, "notify-secret-file": true, "jobs": true, "log-format": true,
}

// ofWatching are those that mean something to a process that goes on.
var ofWatching = []string{"webhook", "webhook-secret-file", "sync-secret-file", "status", "notify", "notify-secret-file", "period"}

// fit refuses values that the config file would refuse.
func fit(flags *pflag.FlagSet, s config.Sync) error {
	for name, n := range map[string]int{"keep": s.Keep, "depth": s.Depth, "exec-tries": s.ExecTries} {
		if flags.Changed(name) && n < 1 {
			return fmt.Errorf("--%s: want a number from 1 on", name)
		}
	}
	for name, d := range map[string]time.Duration{"check-timeout": s.CheckTimeout, "exec-timeout": s.ExecTimeout, "period": s.Period} {
		if flags.Changed(name) && d < shortestPeriod {
			return fmt.Errorf("--%s: want a time such as 30s or 5m", name)
		}
	}
	if modes := []deploy.Mode{"", deploy.Link, deploy.Directory}; !slices.Contains(modes, deploy.Mode(s.Mode)) {
		return fmt.Errorf("--mode is link or dir, not %q", s.Mode)
	}
	return nil
}

// shortestPeriod is the least of what --period takes: GitHub is not to be asked without a
// pause.
const shortestPeriod = 100 * time.Millisecond

// syncEntries are the directories that the command line is about.
func (c *command) syncEntries(flags *pflag.FlagSet, args []string, o *syncOptions) ([]config.Sync, error) {
	var ofOne []string
	flags.Visit(func(f *pflag.Flag) {
		if c.global.Lookup(f.Name) == nil && !ofAll[f.Name] {
			ofOne = append(ofOne, "--"+f.Name)
		}
	})
	wrong := func(format string, args ...any) ([]config.Sync, error) {
		return nil, &diag.UsageError{Err: fmt.Errorf(format, args...)}
	}
	for _, name := range ofWatching {
		if !o.watch && flags.Changed(name) {
			return wrong("--%s is for --watch, and one pass has no use for it", name)
		}
	}
	switch {
	case o.again && o.watch:
		return wrong("--again is for one pass, and --watch makes many")
	case o.jobs < 1:
		return wrong("--jobs: want a number from 1 on")
	case o.all && len(args) > 0:
		return wrong("--all stands in the place of %q", args)
	case !o.all && len(args) == 0:
		return wrong("name a repository, directories of the config file, or --all")
	case !o.all && strings.ContainsAny(args[0], "/:"):
		if err := fit(flags, o.one); err != nil {
			return wrong("%w", err)
		}
		return c.oneEntry(args, o)
	case len(ofOne) > 0:
		return wrong("%s is for a repository that is named here; for directories of the config file it stands there", strings.Join(ofOne, " "))
	}
	loaded, err := c.load()
	if err != nil {
		return nil, err
	}
	known := loaded.Syncs()
	if o.all && len(known) == 0 {
		path, _ := loaded.Path()
		return nil, &diag.SettingError{Err: errors.New("the config file names no directory to keep"), Hint: "write it under sync: in " + path.Text + ", as `ghapp sync --help` shows"}
	}
	if o.all {
		return known, nil
	}
	return c.namedEntries(known, args)
}

// oneEntry is what flags say of a repository.
func (c *command) oneEntry(args []string, o *syncOptions) ([]config.Sync, error) {
	if len(args) > 1 {
		return nil, &diag.UsageError{Err: fmt.Errorf("several directories are kept from the config file; here is one repository, and also %q", args[1:])}
	}
	if o.one.To == "" {
		return nil, &diag.UsageError{Err: errors.New("--to DIR is missing: the directory to keep")}
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

func (c *command) namedEntries(known []config.Sync, names []string) ([]config.Sync, error) {
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
			return nil, &diag.ExitError{Code: diag.Usage, Err: fmt.Errorf("the config file has no directory %q", name), Hint: hint}
		}
		list = append(list, entry)
	}
	return list, nil
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
func (c *command) runSync(ctx context.Context, entries []config.Sync, o syncOptions) error {
	log, err := c.syncLog(o)
	if err != nil {
		return err
	}
	kept, err := c.keep(ctx, entries, log, o.again)
	if err != nil {
		return err
	}
	defer kept.close()
	return kept.serving(ctx, func() error {
		if o.watch {
			return kept.watch(ctx, o.watchOptions)
		}
		return kept.once(ctx)
	})
}

// synced is what became of a directory, for programs.
type synced struct {
	Name       string       `json:"name"`
	Directory  string       `json:"directory"`
	Repository string       `json:"repository"`
	Outcome    string       `json:"outcome"`
	Commit     string       `json:"commit,omitempty"`
	Release    string       `json:"release,omitempty"`
	Bytes      int64        `json:"fetched_bytes"`
	Seconds    float64      `json:"seconds"`
	Error      *diag.Report `json:"error,omitempty"`
}

// once makes one pass of every directory.
func (k *keeper) once(ctx context.Context) error {
	var list []synced
	var failed []error
	for _, p := range k.watcher.Once(ctx) {
		t := k.of[p.Target]
		s := synced{
			Name: t.entry.Name, Directory: t.entry.To, Repository: t.presently().String(), Outcome: string(p.Outcome),
			Commit: p.Commit, Bytes: p.Bytes, Seconds: p.Took.Round(time.Millisecond).Seconds(),
		}
		if r, err := t.deploy.Published(); err == nil && r != nil {
			s.Release = r.ID
		}
		switch {
		case p.Err != nil:
			report := diag.Explain(p.Err)
			s.Error = &report
			failed = append(failed, p.Err)
		case k.command.json:
		case p.Outcome == watch.Published:
			k.command.progress("%s is at %s of %s now (%s).", t.entry.To, shortly(p.Commit), t.presently(), t.want)
		default:
			k.command.progress("%s is at %s of %s (%s); nothing is new.", t.entry.To, shortly(p.Commit), t.presently(), t.want)
		}
		list = append(list, s)
	}
	if k.command.json {
		if err := printJSON(k.command.Stdout, list); err != nil {
			return err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(list) == 1 && !k.command.json:
		return failed[0]
	}
	worst := 0
	for _, err := range failed {
		report := diag.Explain(err)
		if !k.command.json {
			k.command.report(report)
		}
		worst = max(worst, report.ExitCode)
	}
	return &examinedExit{worst}
}

// shortly is how a commit is shown.
func shortly(commit string) string { return commit[:min(12, len(commit))] }

// directoryOf is the target of a name in the config file, or of a path, which has a slash
// in it. A path that the file names, too, is what the file says; of another, the mode is
// that of what lies there.
func (c *command) directoryOf(name string) (*deploy.Target, string, error) {
	if !strings.Contains(name, "/") && name != "." && name != ".." {
		loaded, err := c.load()
		if err != nil {
			return nil, "", err
		}
		entries, err := c.namedEntries(loaded.Syncs(), []string{name})
		if err != nil {
			if _, there := os.Lstat(name); there == nil {
				err = &diag.ExitError{Code: diag.Usage, Err: fmt.Errorf("the config file has no directory %q", name), Hint: "a path has a slash in it: ./" + name}
			}
			return nil, "", err
		}
		return deployed(entries[0]), name, nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, "", err
	}
	// A rollback must not fail because the file has a mistake in it.
	if loaded, err := c.load(); err == nil {
		for _, s := range loaded.Syncs() {
			if s.To == path {
				return deployed(s), s.Name, nil
			}
		}
	}
	t := &deploy.Target{Dir: path}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		t.Mode = deploy.Directory
	}
	return t, filepath.Base(path), nil
}

// deployed is what an entry says of its directory.
func deployed(s config.Sync) *deploy.Target {
	t := &deploy.Target{
		Dir: s.To, Mode: deploy.Mode(s.Mode), Keep: s.Keep, Depth: s.Depth, Filter: s.Filter, Sparse: s.Sparse,
		Submodules: s.Submodules, LFS: s.LFS, FsckIgnore: s.FsckIgnore,
		Check: deploy.Command{Line: s.Check, Timeout: s.CheckTimeout},
		Exec:  deploy.Command{Line: s.Exec, Timeout: s.ExecTimeout, Tries: s.ExecTries},
	}
	if s.VerifySignatures {
		t.Signatures = &deploy.Signatures{AllowedSigners: s.AllowedSigners}
	}
	return t
}
