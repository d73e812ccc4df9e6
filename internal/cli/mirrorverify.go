//go:build unix

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) mirrorVerify() *cobra.Command {
	offline := false
	jobs := config.DefaultMirror().Jobs
	cmd := &cobra.Command{
		Use:   "verify [OWNER/NAME|ID...] [NAME|DIR|OUTDIR...]",
		Short: "Prove that mirrors are whole, and equal to what GitHub has",
		Long: `Reads every mirror of a directory, or of all mirrors in the config file, or those of the
repositories that are named: git fsck proves that all objects are whole and all there that refs
need, kept ones too; the large files of Git LFS are read and compared with their hashes. Then
GitHub is asked what it has, in one question for a hundred repositories, and each branch and
tag is compared. Nothing in the mirrors changes, and a watch may be running.

A mirror that is damaged is made anew at the next run of ` + "`ghapp mirror`" + `: fetched beside, given
what the damaged one has kept and can still be read, and put in its place when it is whole. Large
files that are damaged or missing are fetched anew by the next run with --lfs. Refs that differ
are brought up to date by it too; they may only have been pushed since. What is known to have been
kept, and is not there any more, nobody but a copy of the mirror can give back.

Of OUTDIR, to which ` + "`ghapp mirror bundle`" + ` has written, every file is compared with its manifest,
and each repository is made of its bundles in $TMPDIR, as a restore would: its refs are those that
manifest and bundles name, git fsck finds it whole, and GitHub is not asked.

Exits with 0 where all are whole and equal, and with 1 and their number where some are not.`,
		Example: `  ghapp mirror verify
  ghapp mirror verify /srv/mirrors --json
  ghapp mirror verify acme/site /srv/mirrors --offline
  ghapp mirror verify /mnt/cold`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if jobs < 1 {
				return &fault.UsageError{Err: fmt.Errorf("--jobs %d: want 1 or more", jobs)}
			}
			return c.runVerify(cmd.Context(), args, offline, jobs)
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "look at what is on the disk alone, and ask GitHub nothing")
	cmd.Flags().IntVar(&jobs, "jobs", jobs, "how many mirrors are read at once")
	return cmd
}

// namesAndDirs tells repositories, which are named as owner/name, by an address or an ID, from
// directories of mirrors and their names in the config file. What may be both is a directory where there
// is one of mirrors, or of bundles.
func namesAndDirs(args []string) (names, dirs []string) {
	for _, arg := range args {
		_, number := strconv.ParseInt(arg, 10, 64)
		_, err := ghapp.ParseRepository(arg)
		named := err == nil && !strings.HasPrefix(arg, ".") && !strings.HasPrefix(arg, "/") &&
			!mirror.HasMirrors(arg) && !mirror.HasBundles(arg)
		if number == nil || named {
			names = append(names, arg)
		} else {
			dirs = append(dirs, arg)
		}
	}
	return names, dirs
}

// bothReadings adds to the error over what is taken for a repository that it is no directory either.
func bothReadings(names, dirs []string, err error) error {
	word := ""
	if none, ok := errors.AsType[*mirror.NoMirrorError](err); ok {
		word = none.Word
	} else if len(dirs) == 0 && len(names) > 0 {
		word = names[0]
	}
	if err == nil || !strings.Contains(word, "/") || strings.Contains(word, ":") {
		return err
	}
	report := diag.Explain(err)
	return &fault.ExitError{Code: report.ExitCode, Hint: report.Hint,
		Err: fmt.Errorf("%w; %q is taken for a repository, since no mirrors are in a directory ./%[2]s", err, word)}
}

// verifiedMirror is a mirror that was looked at, for programs.
type verifiedMirror struct {
	Repository string       `json:"repository"`
	ID         int64        `json:"id"`
	Wiki       bool         `json:"wiki,omitempty"`
	Directory  string       `json:"directory"`
	State      string       `json:"state"` // as docs/mirror.md lists them
	Refs       int          `json:"refs"`
	Large      int          `json:"lfs_objects"`
	Missing    []string     `json:"lfs_missing,omitempty"`
	Compared   bool         `json:"compared"`
	Differ     []string     `json:"differ,omitempty"`
	Error      *diag.Report `json:"error,omitempty"`
}

func newVerifiedMirror(v *mirror.Verified, offline bool) verifiedMirror {
	m := verifiedMirror{Repository: v.Name, ID: v.ID, Wiki: v.Wiki, Directory: v.Dir, State: "whole", Refs: v.Refs,
		Large: v.Large, Missing: v.Missing, Compared: v.Compared, Differ: v.Differ}
	err := v.Damage
	switch {
	case v.Damage != nil:
		m.State = "damaged"
	case v.History != nil:
		m.State, err = "history-lost", v.History
	case len(v.Missing) > 0:
		m.State = "lacking"
	case len(v.Differ) > 0:
		m.State = "differs"
	case v.Unasked != nil:
		m.State, err = "not-compared", v.Unasked
	case v.Gone != nil:
		m.State = "gone"
	case !v.Compared && !offline:
		m.State = "not-compared"
	}
	if err != nil {
		report := diag.Explain(err)
		m.Error = &report
	}
	return m
}

func (c *command) runVerify(ctx context.Context, args []string, offline bool, jobs int) error {
	names, paths := namesAndDirs(args)
	bundles := slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !mirror.HasBundles(path) })
	paths = slices.DeleteFunc(paths, mirror.HasBundles)
	var dirs []string
	if len(paths) > 0 || len(bundles) == 0 {
		var err error
		if dirs, err = c.mirrorDirs(paths); err != nil {
			return bothReadings(names, paths, err)
		}
	}
	dirs = append(dirs, bundles...)
	if len(names) > 0 && len(dirs) > 1 {
		return &fault.UsageError{
			Err: fmt.Errorf("there are %d directories of mirrors; name one after %s", len(dirs), names[0]),
		}
	}
	list := []verifiedMirror{}
	wrong := 0
	var unasked error
	for _, dir := range dirs {
		began := time.Now()
		v := &mirror.Verify{Opener: c.apps(), Dir: dir, Names: names, Offline: offline, Jobs: jobs, Log: c.apps().Log}
		found, calls, err := c.verify(ctx, v)
		if found == nil {
			return bothReadings(names, paths, err)
		}
		unasked = cmp.Or(unasked, err)
		bad, uncompared := 0, 0
		for _, one := range found {
			m := newVerifiedMirror(one, offline || mirror.HasBundles(dir))
			switch {
			case m.State == "not-compared":
				uncompared++
			case !one.OK():
				bad++
			}
			if !one.OK() {
				wrong++
			}
			list = append(list, m)
		}
		told := ""
		if uncompared > 0 {
			told = fmt.Sprintf(", %d not compared", uncompared)
		}
		c.progress("%s: %s, %d not as they should be%s (%d API calls, %s).", dir, countMirrors(len(found)), bad, told, calls,
			time.Since(began).Round(10*time.Millisecond))
	}
	if err := c.showVerified(list); err != nil {
		return err
	}
	if unasked != nil {
		return unasked
	}
	if wrong > 0 {
		return &examinedExit{fault.Failed}
	}
	return nil
}

// verify looks at a directory of mirrors, or of bundles.
func (c *command) verify(ctx context.Context, v *mirror.Verify) (list []*mirror.Verified, calls int64, err error) {
	if !mirror.HasBundles(v.Dir) {
		return v.Do(ctx)
	}
	if v.Dir, err = filepath.Abs(v.Dir); err == nil {
		list, err = v.DoBundles(ctx)
	}
	return list, 0, err
}

// showVerified prints what was found.
func (c *command) showVerified(list []verifiedMirror) error {
	if c.json {
		return term.JSON(c.Stdout, list)
	}
	rows := [][]string{{"REPOSITORY", "STATE", "REFS", "LARGE", "DIFFER"}}
	for _, m := range list {
		name := m.Repository
		if m.Wiki {
			name += ".wiki"
		}
		differ := "-"
		if n := len(m.Differ); n > 0 {
			differ = fmt.Sprintf("%d: %s", n, strings.Join(m.Differ[:min(n, 3)], " "))
		}
		rows = append(rows, []string{name, m.State, strconv.Itoa(m.Refs), strconv.Itoa(m.Large), differ})
	}
	if err := term.Table(c.Stdout, rows); err != nil {
		return err
	}
	told := 0
	for _, m := range list {
		if m.Error != nil && told < mostTold {
			told++
			report := *m.Error
			report.Message, report.Errors = m.Repository+": "+report.Message, nil
			c.report(report)
		}
		if n := len(m.Missing); n > 0 && told < mostTold {
			told++
			c.report(diag.Report{
				Message: fmt.Sprintf("%s: %d large files are not there, or damaged: %s first", m.Repository, n, m.Missing[0]),
				Hint:    "the next run of `ghapp mirror --lfs` fetches them, as long as GitHub has them"})
		}
	}
	return nil
}
