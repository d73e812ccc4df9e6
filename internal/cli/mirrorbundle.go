//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

func (c *command) mirrorBundle() *cobra.Command {
	to, full := "", false
	cmd := &cobra.Command{
		Use:   "bundle [OWNER/NAME|ID...] [NAME|DIR...] --to OUTDIR",
		Short: "Write mirrors to files for cold storage, and what is new since the last time",
		Long: `Writes the mirrors of a directory, or of all mirrors in the config file, or those of the
repositories that are named, to OUTDIR/ID/, ID being GitHub's of the repository: a git bundle
(version 3) of what is new since the last time, a tar of the new large files of Git LFS, and
manifest.json, which is written last and has the SHA-256 and size of each file, what it builds
on, names, refs, and the history of refs. With what is kept, and its times:
` + "`ghapp mirror restore --from OUTDIR`" + ` takes --at as from a mirror, and uses
no file that is not what the manifest says.

Files that are there are never changed, and --full writes everything anew and takes the older
ones away: copies may be made at any time, manifest.json last. Where they have history that
the mirror lacks, none of them is touched, and that is an error: move OUTDIR/ID elsewhere to
have all of it written anew. Nothing is asked of GitHub.`,
		Example: `  ghapp mirror bundle --to /mnt/cold
  ghapp mirror bundle acme/site /srv/mirrors --to /mnt/cold --full
  ghapp mirror restore acme/site --from /mnt/cold --to ./site`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return &fault.UsageError{Err: errors.New("--to OUTDIR is missing: the directory of the files")}
			}
			return c.runBundle(cmd.Context(), args, to, full)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "write the files to `OUTDIR`")
	cmd.Flags().BoolVar(&full, "full", false, "write everything anew, and take the older files away")
	return cmd
}

// bundledMirror is what became of one, for programs.
type bundledMirror struct {
	Repository string `json:"repository"`
	ID         int64  `json:"id"`
	Wiki       bool   `json:"wiki,omitempty"`
	Directory  string `json:"directory"`
	Bytes      int64  `json:"bytes"`
	Full       bool   `json:"full"`
	Unchanged  bool   `json:"unchanged"`
}

// lies reports whether a path leads to a directory, or below it. Not all of it need be there.
func lies(path, dir string) bool {
	resolved := func(path string) string {
		for rest := ""; ; path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest) {
			if there, err := filepath.EvalSymlinks(path); err == nil {
				return filepath.Join(there, rest)
			}
		}
	}
	below, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && filepath.IsLocal(below)
}

func (c *command) runBundle(ctx context.Context, args []string, to string, full bool) error {
	names, paths := namesAndDirs(args)
	dirs, err := c.mirrorDirs(paths)
	if err != nil {
		return bothReadings(names, paths, err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	for _, dir := range dirs {
		if lies(to, dir) {
			return &fault.UsageError{Err: fmt.Errorf("--to %s lies in the directory of the mirrors, %s", to, dir),
				Hint: "bundles are for another disk: give a directory outside of it"}
		}
	}
	if mirror.HasMirrors(to) {
		return &fault.UsageError{Err: fmt.Errorf("--to %s is a directory of mirrors", to),
			Hint: "bundles have a directory of their own: give another one with --to"}
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return &fault.SettingError{Err: err, Hint: "give a directory that can be written to with --to"}
	}
	unlock, err := filelock.Take(ctx, filepath.Join(to, ".ghapp-lock"), 0)
	if errors.Is(err, filelock.ErrHeld) {
		err = &fault.ExitError{Code: fault.Unreachable, Err: fmt.Errorf("another process writes to %s", to),
			Hint: "wait for it"}
	}
	if err != nil {
		return err
	}
	defer unlock()
	b := &mirror.Bundling{To: to, Full: full, Environ: c.Environ, Own: c.apps().Own(), Log: c.apps().Log}
	list := []bundledMirror{}
	failed, fresh, bytes := 0, 0, int64(0)
	for _, dir := range dirs {
		found, err := mirror.FindAll(dir, names, c.apps().Log)
		if err != nil {
			return bothReadings(names, paths, err)
		}
		for _, f := range found {
			done, err := b.Do(ctx, f)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				failed++
				report := diag.Explain(err)
				report.Message, report.Errors = f.Name+": "+report.Message, nil
				c.report(report)
				continue
			}
			if done.Fresh {
				fresh++
			}
			bytes += done.Bytes
			list = append(list, bundledMirror{f.Name, f.ID, f.Wiki, done.Dir, done.Bytes, done.Full, done.Fresh})
		}
	}
	if c.json {
		if err := term.JSON(c.Stdout, list); err != nil {
			return err
		}
	}
	c.progress("%s: %s, %d of them unchanged, %d failed; %s written.", to,
		countOf(len(list)+failed, "repository", "repositories"), fresh, failed, text.Size(bytes))
	if failed > 0 {
		return &examinedExit{fault.Failed}
	}
	return nil
}
