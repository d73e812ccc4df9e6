//go:build unix

package deploy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// obtain brings a commit into a store, for a release.
type obtain func(s *store, ctx context.Context, commit, id string) error

// build makes a release that is whole and on the disk, but has no record yet. After a
// failure nothing of it is left.
func (t *Target) build(ctx context.Context, w Want, published *Release, get obtain) (r *Release, err error) {
	id, err := t.nextID(w.Commit)
	if err != nil {
		return nil, err
	}
	r = &Release{ID: id, Repository: w.Repository, Ref: w.Ref, Commit: w.Commit, Makeup: t.makeup()}
	if published != nil {
		r.Previous = published.Commit
	}
	defer func() {
		if err != nil {
			t.explain(err, id)
			err = errors.Join(err, t.drop(id))
		}
	}()
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{{t.tree(id), 0o777}, {t.record(id), 0o700}} {
		if err := os.Mkdir(dir.name, dir.mode); err != nil {
			return nil, err
		}
	}
	r.Inode = inode(t.tree(id))

	b := &building{Target: t, release: r, published: published, get: get}
	if err := b.part(ctx, Part{URL: w.URL, Commit: w.Commit}, 0); err != nil {
		return nil, err
	}
	if err := t.run(ctx, "check", t.Check, t.tree(id), r, r.Previous); err != nil {
		return nil, err
	}
	r.BuiltAt = time.Now().UTC()
	if t.Exec.Line != "" {
		r.owe()
	}
	return r, flush(t.tree(id))
}

// explain finds out what git does not say when it cannot write a file: whether the disk
// takes no more.
func (t *Target) explain(err error, id string) {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok || e.Reason != gitcmd.Unknown {
		return
	}
	failed := os.WriteFile(filepath.Join(t.record(id), "probe"), make([]byte, 64<<10), 0o600)
	switch {
	case errors.Is(failed, syscall.ENOSPC), errors.Is(failed, syscall.EDQUOT):
		e.Reason, e.Err = gitcmd.DiskFull, failed
	case errors.Is(failed, syscall.EROFS), errors.Is(failed, syscall.EIO):
		e.Reason, e.Err = gitcmd.DiskFailed, failed
	}
}

// repair takes away what was fetched before, where a build may have failed because of
// that, and reports whether it is worth another try. What a network or a server does
// wrong it leaves alone.
func (t *Target) repair(ctx context.Context, failed error) bool {
	e, ok := errors.AsType[*gitcmd.Error](failed)
	if !ok || ctx.Err() != nil || !slices.Contains([]gitcmd.Reason{gitcmd.Unknown, gitcmd.ConfigurationBroken, gitcmd.ConnectionLost}, e.Reason) {
		return false
	}
	names, err := entries(t.stores())
	if err != nil {
		return false
	}
	stores := []*store{t.main("")}
	for _, name := range names {
		stores = append(stores, &store{Target: t, dir: filepath.Join(t.stores(), name)})
	}
	repaired := false
	for _, s := range stores {
		if s.sound(ctx) {
			continue
		}
		t.log().Warn("what was fetched before is damaged, and is fetched anew", "directory", t.Dir, "error", failed)
		repaired = s.discard() == nil || repaired
	}
	return repaired
}

// storeOf is the store of a part.
func (t *Target) storeOf(p Part) *store {
	if p.Path == "" {
		return t.main(p.URL)
	}
	return t.module(p.URL)
}

// place is where the files of a release are.
func (t *Target) place(r *Release) string {
	if t.mode() == Directory && r.Inode == inode(t.Dir) {
		return t.Dir
	}
	return t.tree(r.ID)
}

// index is git's index of a part of a release, as it is and parsed.
func (t *Target) index(r *Release, part int) ([]byte, []entry, error) {
	data, err := os.ReadFile(t.indexFile(r.ID, part))
	if err != nil {
		return nil, nil, err
	}
	list, err := parseIndex(data, hash(r.Parts[part].Commit))
	return data, list, err
}

// building is a release that is being made.
type building struct {
	*Target
	release   *Release
	published *Release // its files are shared; nil: there is none
	get       obtain
}

// part makes the files of one repository of a release, and those of its submodules.
func (b *building) part(ctx context.Context, p Part, depth int) error {
	s, r := b.storeOf(p), b.release
	dir, err := b.tree(r.ID), error(nil)
	if p.Path != "" {
		if dir, err = directory(b.tree(r.ID), p.Path); err != nil {
			return &Error{Problem: ErrSubmodule, Op: "check out " + p.Path, Err: err}
		}
	}
	number, former, shared := len(r.Parts), b.former(p), []entry(nil)
	r.Parts = append(r.Parts, p)

	// While git fetches, the files that are there already are shared: most of them are
	// the same in the new commit.
	group, fetching := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.prepare(fetching, p.Commit); err != nil {
			return err
		}
		if former >= 0 && b.published.Parts[former].Commit == p.Commit && s.have(fetching, p.Commit, r.ID) == nil {
			return nil // a submodule that is as it was
		}
		return b.get(s, fetching, p.Commit, r.ID)
	})
	group.Go(func() (err error) {
		shared, err = b.reuse(former, number)
		return err
	})
	if err := group.Wait(); err != nil {
		_ = s.unlock() // a pack that git has refused would stay until the next one
		return err
	}
	if p.Path == "" {
		// Submodules are named by it, by their commits.
		if err := s.verify(ctx, p.Commit); err != nil {
			return err
		}
	}
	if err := s.checkout(ctx, p.Commit, dir, b.indexFile(r.ID, number)); err != nil {
		return err
	}
	_, list, err := b.index(r, number)
	if err == nil {
		err = intact(b.tree(r.ID), p.Path, without(list, shared)) // the others were looked at
	}
	if err == nil {
		err = gone(b.tree(r.ID), p.Path, shared, list)
	}
	if err != nil {
		return &Error{Problem: ErrDamaged, Op: "build " + r.ID, Err: err}
	}
	return b.submodules(ctx, p, list, depth)
}

// former is the number of a part among those of the published release, or -1.
func (b *building) former(p Part) int {
	if b.published == nil || b.published.Makeup != b.release.Makeup {
		return -1
	}
	return slices.IndexFunc(b.published.Parts, func(old Part) bool {
		return old.Path == p.Path && (p.Path == "" || old.URL == p.URL)
	})
}

// reuse begins a part with the files that the published release has of it, which it
// returns. That not all of them can be had is no failure: git makes what is missing.
func (b *building) reuse(former, number int) ([]entry, error) {
	if former < 0 {
		return nil, nil
	}
	data, list, err := b.index(b.published, former)
	if err != nil {
		b.log().Debug("nothing is shared with the release before", "release", b.published.ID, "error", err)
		return nil, nil
	}
	shared, err := share(b.place(b.published), b.tree(b.release.ID), b.published.Parts[former].Path, list)
	if err != nil {
		return nil, err
	}
	index := b.indexFile(b.release.ID, number)
	if err := os.WriteFile(index, data, 0o600); err != nil {
		return nil, err
	}
	// It must look younger than all files in it: of a file that was made in the same
	// second git believes nothing, and reads it whole.
	soon := time.Now().Add(2 * time.Second)
	return shared, os.Chtimes(index, soon, soon)
}
