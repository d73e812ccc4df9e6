//go:build unix

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// restoreOptions are those of mirror restore.
type restoreOptions struct {
	from, to, at             string
	bare, mirror, force, yes bool
}

func (c *command) mirrorRestore() *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore REPO --to DIR|OWNER/NAME|URL [flags]",
		Short: "Bring a repository back from its mirror, as it was at any time",
		Long: `Brings a repository back from its mirror, as it was seen last or, with --at, as it was at
a time that the mirror's history reaches (--keep-history). REPO is the name of the repository,
one that it had before, or GitHub's ID of it; it may be gone from GitHub. NAME.wiki is its wiki.
Nothing in the mirror changes, and a watch may be running.

--to DIR, a path with a slash at its beginning or after dots (./site, ../site, /srv/site), or one
without any: a clone is made there, whole or not at all, and git fsck finds it so. All branches
are branches in it, with tags, notes and the large files of Git LFS; its remote origin is the
repository's address on GitHub, of which nothing is asked. --bare makes a bare repository.
--mirror makes the mirror itself again, of bundles, with all that it kept and its journal: at
its place, DIR/OWNER/NAME.git, the next run of ghapp mirror goes on with it.

--to OWNER/NAME, or an address: branches, tags and notes are pushed to that repository on
GitHub, after the large files, with a token for it alone that may write its contents (and its
workflows, where a commit changes one). The App needs that permission. The repository has to be
there; GitHub makes one at https://github.com/new. It is to be empty: with --force refs of the
same name are overwritten, after a question that --yes answers. Nothing is deleted there, ever.

Exits with 1 where all is restored but large files that the mirror does not have.`,
		Example: `  ghapp mirror restore acme/site --to ./site
  ghapp mirror restore acme/site --at 2026-11-01T12:00Z --to ./site-then
  ghapp mirror restore acme/site --from /mnt/cold --mirror --to /srv/mirrors/acme/site.git
  ghapp mirror restore acme/site --at 24h --from /srv/mirrors --to acme/site-restored`,
		Args: usage(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which repository to bring back is not said: name REPO")
			}
			return cobra.MaximumNArgs(1)(nil, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return c.runRestore(cmd.Context(), args[0], &o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "the directory of the mirrors, `DIR`, the name of one in the config file, "+
		"or a directory of bundles (default all that the config file names)")
	flags.StringVar(&o.to, "to", "", "a directory that is made, or a repository on GitHub: `DIR|OWNER/NAME|URL`")
	flags.StringVar(&o.at, "at", "",
		"as it was at this `TIME`: 2026-11-01T12:00Z, 2026-11-01 (its beginning, UTC), or 24h (ago)")
	flags.BoolVar(&o.bare, "bare", false, "make a bare repository, without a work tree")
	flags.BoolVar(&o.mirror, "mirror", false, "make the mirror itself again, of bundles, with all that it kept")
	flags.BoolVar(&o.force, "force", false, "overwrite refs of the same name in a repository on GitHub")
	flags.BoolVarP(&o.yes, "yes", "y", false, "agree to that beforehand")
	return cmd
}

// runRestore brings one repository back.
func (c *command) runRestore(ctx context.Context, word string, o *restoreOptions) error {
	at, err := parseAt(o.at, time.Now())
	if err != nil {
		return err
	}
	dir, target, err := restoreTarget(o)
	if err != nil {
		return err
	}
	if o.mirror {
		return c.restoreMirror(ctx, word, dir, o)
	}
	found, done, err := c.restoreSource(ctx, o.from, word)
	if err != nil {
		return err
	}
	defer done()
	return c.restore(ctx, found, at, dir, target, o)
}

// restoreMirror makes the mirror itself again.
func (c *command) restoreMirror(ctx context.Context, word, dir string, o *restoreOptions) error {
	switch {
	case dir == "":
		return &fault.UsageError{Err: errors.New("--mirror is for a directory: --to DIR/OWNER/NAME.git")}
	case o.at != "" || o.bare:
		return &fault.UsageError{Err: errors.New("--mirror brings back all that was kept, of all times, and is bare: " +
			"it does not go with --at and --bare")}
	case o.from == "" || !mirror.HasBundles(o.from):
		return &fault.UsageError{Err: errors.New("--mirror makes a mirror of bundles, and --from names no directory of some"),
			Hint: "of a directory that has mirrors, copy the mirror: cp -a keeps all that it has"}
	}
	from, err := filepath.Abs(o.from)
	if err != nil {
		return err
	}
	git := gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own()}
	found, done, err := mirror.RestoreMirror(ctx, from, word, dir, git, c.apps().Log)
	if err != nil {
		return err
	}
	return c.tellRestored(found, time.Time{}, dir, ghapp.RepositoryName{}, done)
}

// restoreSource is the mirror, or one that is made of bundles for as long as it takes.
func (c *command) restoreSource(ctx context.Context, from, word string) (_ *mirror.Found, done func(), err error) {
	if from == "" || !mirror.HasBundles(from) {
		found, err := c.findMirror(from, word)
		return found, func() {}, err
	}
	temp, err := os.MkdirTemp("", "ghapp-bundles-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = os.RemoveAll(temp) }
	git := gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own()}
	if from, err = filepath.Abs(from); err == nil {
		var found *mirror.Found
		if found, err = mirror.FindBundle(ctx, from, word, temp, git, c.apps().Log); err == nil {
			return found, done, nil
		}
	}
	done()
	return nil, nil, err
}

// restore brings back what was found.
func (c *command) restore(ctx context.Context, found *mirror.Found, at time.Time, dir string,
	target ghapp.RepositoryName, o *restoreOptions) error {
	r := &mirror.Restore{From: found, At: at, Environ: c.Environ, Own: c.apps().Own(), Log: c.apps().Log}
	var done *mirror.Restored
	var err error
	if dir != "" {
		done, err = r.ToDirectory(ctx, mirror.Directory{Path: dir, Bare: o.bare, Origin: c.originOf(found)})
	} else {
		done, err = r.ToRepository(ctx, mirror.Push{
			To: target, Opener: c.apps(), Output: c.gitOutput(), Force: o.force, Agree: c.agreeToOverwrite(target, o.yes),
		})
	}
	if err != nil {
		return err
	}
	return c.tellRestored(found, at, dir, target, done)
}

// restoreTarget is where to: a directory, or else a repository.
func restoreTarget(o *restoreOptions) (dir string, target ghapp.RepositoryName, err error) {
	switch {
	case o.to == "":
		err = errors.New("--to is missing: a directory that is made (./site), or a repository on GitHub (acme/site)")
	case strings.HasPrefix(o.to, "/"), strings.HasPrefix(o.to, "."), !strings.ContainsAny(o.to, "/:"):
		if o.force || o.yes {
			err = errors.New("--force and --yes are for a repository on GitHub; no directory is overwritten")
			break
		}
		dir, err = filepath.Abs(o.to)
	default:
		if target, err = ghapp.ParseRepository(o.to); err == nil && o.bare {
			err = errors.New("--bare is for a directory, which begins with a slash or a dot: ./" + o.to)
		} else if err != nil {
			err = fmt.Errorf("--to is neither a directory, which begins with a slash or a dot, nor a repository: %w", err)
		}
	}
	if err != nil {
		return "", target, &fault.UsageError{Err: err}
	}
	return dir, target, nil
}

// parseAt reads a point in time.
func parseAt(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			if t.After(now) {
				return t, &fault.UsageError{Err: fmt.Errorf("--at %s is yet to come", text)}
			}
			return t, nil
		}
	}
	if ago, err := config.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, &fault.UsageError{
		Err: fmt.Errorf("--at %q is no time: want 2026-11-01T12:00Z, 2026-11-01, or how long ago, as 24h or 7d", text),
	}
}

// findMirror finds the mirror of a repository in a directory, or in all that the config file names. Of these
// some may lack their disk: that is the error where no other has it.
func (c *command) findMirror(from, word string) (*mirror.Found, error) {
	names := []string{from}
	if from == "" {
		loaded, err := c.apps().Load()
		if err != nil {
			return nil, err
		}
		names = namesOf(loaded.Mirrors())
	}
	if len(names) == 0 {
		return nil, errNoMirrors()
	}
	var first error
	for _, name := range names {
		dirs, err := c.mirrorDirs([]string{name})
		if err == nil {
			var found *mirror.Found
			if found, err = mirror.Find(dirs[0], word, c.apps().Log); err == nil {
				return found, nil
			}
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

// originOf is the address of a mirror's repository on its host.
func (c *command) originOf(found *mirror.Found) string {
	name, err := ghapp.ParseRepository(found.Name)
	if err != nil {
		return ""
	}
	name.Wiki = found.Wiki
	origin := "https://" + found.Host
	asked := name
	asked.Host = found.Host
	if settings, err := c.apps().Settings(asked); err == nil {
		if host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text); err == nil {
			origin = host.Origin
		}
	}
	name.Host = ""
	return origin + "/" + name.String() + ".git"
}

// mostAsked is how many refs a question names.
const mostAsked = 5

// agreeToOverwrite asks a person.
func (c *command) agreeToOverwrite(
	target ghapp.RepositoryName, yes bool,
) func(context.Context, []string) (bool, error) {
	return func(ctx context.Context, names []string) (bool, error) {
		if yes {
			return true, nil
		}
		list := strings.Join(names[:min(len(names), mostAsked)], ", ")
		if more := len(names) - mostAsked; more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		question := fmt.Sprintf("In %s these have other commits: %s\nOverwrite them?", target, list)
		return c.person().Agrees(ctx, question, false)
	}
}

// tellRestored tells what was brought back.
func (c *command) tellRestored(found *mirror.Found, at time.Time, dir string, target ghapp.RepositoryName,
	done *mirror.Restored) error {
	where := dir
	if dir == "" {
		where = target.String()
	}
	if c.json {
		if err := c.printRestored(found, at, dir, target, done); err != nil {
			return err
		}
	}
	what := found.Name
	if !at.IsZero() {
		what += " as it was at " + at.UTC().Format(time.RFC3339)
	}
	c.progress("%s is in %s: %s, %s, %s.", what, where, countOf(done.Branches, "branch", "branches"),
		countOf(done.Tags, "tag", "tags"), countOf(done.Large, "large file", "large files"))
	if done.Pointers {
		c.progress("The work tree has pointers in the place of large files: `git lfs install`, " +
			"and then `git lfs checkout` in it, put them there.")
	}
	if n := len(done.Missing); n > 0 {
		return &fault.ExitError{Code: fault.Failed,
			Err: fmt.Errorf("all is restored but %d large files of Git LFS, which the mirror does not have whole: %s first",
				n, done.Missing[0]),
			Hint: "`ghapp mirror --lfs` keeps them from now on, as long as GitHub has them"}
	}
	return nil
}

// restored is what was brought back, for programs.
type restored struct {
	Repository string     `json:"repository"`
	ID         int64      `json:"id"`
	At         *time.Time `json:"at,omitempty"`
	Directory  string     `json:"directory,omitempty"`
	Target     string     `json:"target,omitempty"`
	Branches   int        `json:"branches"`
	Tags       int        `json:"tags"`
	Branch     string     `json:"branch,omitempty"`
	Commit     string     `json:"commit,omitempty"`
	Large      int        `json:"lfs_objects"`
	Missing    []string   `json:"lfs_missing,omitempty"`
}

func (c *command) printRestored(found *mirror.Found, at time.Time, dir string, target ghapp.RepositoryName,
	done *mirror.Restored) error {
	out := restored{Repository: found.Name, ID: found.ID, Directory: dir, Branches: done.Branches, Tags: done.Tags,
		Branch: done.Head, Commit: done.Commit, Large: done.Large, Missing: done.Missing}
	if dir == "" {
		out.Target = target.String()
	}
	if !at.IsZero() {
		out.At = &at
	}
	return term.JSON(c.Stdout, out)
}
