package barerepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Export is what a repository is made of by [Repository.Export].
type Export struct {
	// Dir is where it is made: an absolute path at which nothing is, in a directory that is there.
	Dir string
	// WorkTree has it be one with a work tree, which is still empty: its own directory is .git.
	WorkTree bool
	// Refs are what it has. HEAD stands for its Head.
	Refs *Snapshot
	// Origin is the address of its remote origin. Empty: it has none.
	Origin string
}

// Export makes a repository that has some refs of this one and the objects that they need, proves
// that it is whole, and has it on the disk. Nothing in it leads back here. The error is an [*Error]
// with [ErrDamaged] where an object is damaged or missing, git's or the system's; what was made is
// the caller's to take away.
func (r *Repository) Export(ctx context.Context, e Export) error {
	u := &run{Repository: r}
	if err := u.checkOnce(); err != nil {
		return err
	}
	if err := u.initialize(ctx, e); err != nil {
		return err
	}
	made := &Repository{Dir: e.gitDir(), Git: r.Git, Log: r.Log}
	if len(e.Refs.Refs) > 0 {
		if err := u.copyObjects(ctx, made, e.Refs.Refs); err != nil {
			return err
		}
		if err := writePacked(made.path("packed-refs"), e.Refs.Refs); err != nil {
			return err
		}
	}
	if err := os.WriteFile(made.path("HEAD"), []byte("ref: "+orMain(e.Refs.Head)+"\n"), 0o666); err != nil {
		return err
	}
	if err := made.Fsck(ctx); err != nil {
		return err
	}
	return flush.Tree(e.Dir)
}

func (e *Export) gitDir() string {
	if e.WorkTree {
		return filepath.Join(e.Dir, ".git")
	}
	return e.Dir
}

// initialize makes the repository, empty, with what git makes of the file system.
func (r *run) initialize(ctx context.Context, e Export) error {
	git := r.Git
	git.Environ = gitcmd.Alone(git.Environ)
	git.Dir, git.Stdout, git.Stderr, git.Progress = filepath.Dir(e.Dir), nil, nil, false
	args := []string{"init", "--quiet", "--template="}
	if e.Refs.Format == gitwire.SHA256 {
		args = append(args, "--object-format=sha256")
	}
	if !e.WorkTree {
		args = append(args, "--bare")
	}
	if err := r.call(ctx, &git, append(args, "--", e.Dir)...); err != nil {
		return err
	}
	if e.Origin == "" {
		return nil
	}
	config, err := os.OpenFile(filepath.Join(e.gitDir(), "config"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer config.Close()
	if _, err := config.WriteString(e.remote()); err != nil {
		return err
	}
	return config.Close()
}

// remote is what the configuration of a clone says of where it came from.
func (e *Export) remote() string {
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	text := "[remote \"origin\"]\n\turl = " + quote(e.Origin) + "\n"
	if !e.WorkTree {
		return text
	}
	text += "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
	if branch, ok := strings.CutPrefix(e.Refs.Head, heads); ok && e.Refs.Refs[e.Refs.Head] != "" {
		text += "[branch " + quote(branch) + "]\n\tremote = origin\n\tmerge = " + quote(e.Refs.Head) + "\n"
	}
	return text
}

// copyObjects packs what refs need into another repository.
func (r *run) copyObjects(ctx context.Context, to *Repository, refs map[string]string) error {
	from, err := filepath.Abs(r.path("objects"))
	if err != nil {
		return err
	}
	if strings.Contains(from, "\n") {
		return fmt.Errorf("%q cannot be named to git", from)
	}
	info, packs := to.path("objects", "info"), to.path("objects", "pack")
	alternates := filepath.Join(info, "alternates")
	if err := errors.Join(os.MkdirAll(info, 0o777), os.MkdirAll(packs, 0o777),
		os.WriteFile(alternates, []byte(from+"\n"), 0o666)); err != nil {
		return err
	}
	if err := copyShallow(r.path("shallow"), to.path("shallow")); err != nil {
		return err
	}
	var want bytes.Buffer
	for _, id := range wantsOf(refs, nil) {
		want.WriteString(id + "\n")
	}
	git := to.git(to.Dir, "", "core.fsync=none", "pack.writeBitmaps=false")
	git.Stdin = &want
	err = r.call(ctx, git, "pack-objects", "--revs", "--quiet", "--delta-base-offset", filepath.Join(packs, "pack"))
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.Reason == gitcmd.Unknown && e.ExitCode > 0 {
		return &Error{Problem: ErrDamaged, Op: "read the objects of " + r.Dir, Err: err}
	}
	if err != nil {
		return err
	}
	return os.Remove(alternates)
}

// copyShallow has a copy end where the history here does, if it does not go on.
func copyShallow(from, to string) error {
	text, err := readFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o666)
}
