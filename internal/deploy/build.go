//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/quarantine"
)

// obtain brings a commit into a store, for a release.
type obtain func(s *store, ctx context.Context, commit, id string) error

// build makes a release that is whole and on the disk, but has no record yet. After a
// failure nothing of it is left.
func (t *Target) build(ctx context.Context, q Request, published *Release, get obtain) (r *Release, err error) {
	id, err := t.nextID(q.Commit)
	if err != nil {
		return nil, err
	}
	r = &Release{ID: id, Repository: q.Repository, Ref: q.Ref, Commit: q.Commit, BuildOptions: t.buildOptions()}
	if published != nil {
		r.Previous = published.Commit
	}
	defer func() {
		if err != nil {
			t.explain(err, id)
			err = errors.Join(err, t.drop(id), quarantine.Of(t.mainStore("").dir).Remove())
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

	b := &building{Target: t, release: r, published: published, get: get, known: map[string]string{}}
	b.loadReusable()
	if err := b.part(ctx, Part{URL: q.URL, Commit: q.Commit}, 0); err != nil {
		return nil, err
	}
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	r.BuiltAt = time.Now().UTC()
	if t.Exec.Line != "" {
		r.setExecPending()
	}
	if b.incoming == nil {
		return r, flush.Tree(t.tree(id))
	}
	if err := flush.Tree(t.tree(id), b.incoming.Dir); err != nil {
		return nil, err
	}
	return r, b.incoming.admit()
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
	suspicious := []gitcmd.Reason{gitcmd.Unknown, gitcmd.NoRepository, gitcmd.ConfigurationBroken, gitcmd.ConnectionLost}
	if !ok || ctx.Err() != nil || !slices.Contains(suspicious, e.Reason) {
		return false
	}
	names, err := entries(t.stores())
	if err != nil {
		return false
	}
	stores := []*store{t.mainStore("")}
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
		return t.mainStore(p.URL)
	}
	return t.moduleStore(p.URL)
}

// index is git's index of a part of a release, as it is and parsed.
func (t *Target) index(r *Release, part int) ([]byte, []entry, error) {
	data, err := os.ReadFile(t.indexFile(r.ID, part))
	if err != nil {
		return nil, nil, err
	}
	list, err := parseIndex(data, hashSize(r.Parts[part].Commit))
	return data, list, err
}

// building is a release that is being made.
type building struct {
	*Target
	release   *Release
	published *Release        // its files are shared; nil: there is none
	reusable  map[string]file // what it has, by path
	get       obtain
	paths     []string          // the files of the new release, as git makes them
	known     map[string]string // the digests of those that are shared
	incoming  *incoming         // what was fetched for it, and does not count yet; nil: all does
}

// loadReusable reads which files the published release has.
func (b *building) loadReusable() {
	if b.published == nil || len(b.published.Parts) == 0 {
		return
	}
	files, err := b.contents(b.published.ID)
	if err != nil {
		b.log().Debug("nothing is shared with the release before", "release", b.published.ID, "error", err)
		return
	}
	b.reusable = byPath(files)
}

// check runs the check, and writes down what the release has then.
func (b *building) check(ctx context.Context) error {
	root, r := b.tree(b.release.ID), b.release
	list, err := inspect(root, b.paths, b.known)
	if err != nil {
		return err
	}
	files := make([]file, len(list))
	for i, f := range list {
		if f.err != nil {
			return &Error{Problem: ErrDamaged, Op: "build " + r.ID, Err: fmt.Errorf("%q: %w", f.path, f.err)}
		}
		files[i] = f.file
	}
	if err := b.keepTimes(files); err != nil {
		return err
	}
	if b.Check.Line != "" {
		r.Check = b.Check.Line
		if err := b.runCommand(ctx, "check", b.Check, root, r, r.Previous); err != nil {
			return err
		}
		if files, err = filesAfterCheck(root, files); err != nil {
			return err
		}
	}
	return b.saveContents(r.ID, files)
}

// keepTimes gives files that have not changed the time that they had in the release
// before: what browsers and programs have of them stays good. A hard link has it anyway.
func (b *building) keepTimes(files []file) error {
	root := b.tree(b.release.ID)
	w, err := newWalk(root, "")
	if err != nil {
		return err
	}
	defer w.close()
	for i, f := range files {
		old, ok := b.reusable[f.path]
		if !ok || b.share() == HardLink || old.digest != f.digest || old.mode != f.mode || old.time == f.time {
			continue
		}
		dirs, err := w.enter(path.Dir(f.path))
		if err != nil {
			return err
		}
		at := unix.NsecToTimespec(old.time)
		times := []unix.Timespec{at, at}
		if err := unix.UtimesNanoAt(dirs[0], path.Base(f.path), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "utimensat", Path: filepath.Join(root, f.path), Err: err}
		}
		files[i].time = old.time
	}
	return nil
}

// filesAfterCheck are the files of a tree after a check, which may have made some of them.
func filesAfterCheck(root string, made []file) ([]file, error) {
	paths, err := allPaths(root)
	if err != nil {
		return nil, err
	}
	list, err := inspect(root, paths, nil)
	if err != nil {
		return nil, err
	}
	before, files := byPath(made), make([]file, 0, len(list))
	for _, f := range list {
		if f.err != nil && !errors.Is(f.err, fs.ErrPermission) {
			return nil, fmt.Errorf("%q: %w", f.path, f.err)
		}
		old, ok := before[f.path]
		f.checked = !ok || old.digest != f.digest || old.mode != f.mode
		files = append(files, f.file)
	}
	return files, nil
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
	number := len(r.Parts)
	r.Parts = append(r.Parts, p)
	shared, before, err := b.fetchAndShare(ctx, s, p, number)
	if err != nil {
		_ = s.removeStale() // a pack that git has refused would stay until the next one
		return err
	}
	if p.Path == "" {
		b.incoming = s.incoming
		// Submodules are named by it, by their commits.
		if err := s.verify(ctx, p.Commit); err != nil {
			return err
		}
	}
	list, shared, err := b.checkOut(ctx, s, number, dir, shared, before)
	if err != nil {
		return err
	}
	err = intact(b.tree(r.ID), p.Path, without(list, shared)) // the others were looked at
	if err == nil {
		err = gone(b.tree(r.ID), p.Path, shared, list)
	}
	if err != nil {
		return &Error{Problem: ErrDamaged, Op: "build " + r.ID, Err: err}
	}
	b.notePaths(p, list, shared)
	return b.submodules(ctx, s, p, list, depth)
}

// fetchAndShare has git fetch the commit of a part, and meanwhile takes over the files that the
// published release has of it: most of them are the same in the new commit. It returns what
// [building.reuse] does.
func (b *building) fetchAndShare(
	ctx context.Context, s *store, p Part, number int,
) (shared, before []entry, err error) {
	oldPart := b.partBefore(p)
	group, fetching := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.prepare(fetching, p.Commit); err != nil {
			return err
		}
		unchanged := oldPart >= 0 && b.published.Parts[oldPart].Commit == p.Commit
		if unchanged && s.pin(fetching, p.Commit, b.release.ID) == nil {
			return nil // a submodule that is as it was
		}
		return b.get(s, fetching, p.Commit, b.release.ID)
	})
	group.Go(func() (err error) {
		shared, before, err = b.reuse(oldPart, number)
		return err
	})
	err = group.Wait()
	return shared, before, err
}

// checkOut has git make the files of a part that are not there yet. It returns git's list of all
// that the part has, and those of the shared files that have stayed as they were.
func (b *building) checkOut(
	ctx context.Context, s *store, number int, dir string, shared, before []entry,
) (list, stayed []entry, err error) {
	id, commit, index := b.release.ID, b.release.Parts[number].Commit, b.indexFile(b.release.ID, number)
	if err := s.checkout(ctx, commit, dir, index); err != nil {
		return nil, nil, err
	}
	_, list, err = b.index(b.release, number)
	if err == nil {
		if err := missing(s.sparse, list); err != nil {
			return nil, nil, &Error{Problem: ErrSparse, Op: "build " + id, Err: err}
		}
	}
	left, looked := s.pointers(ctx, dir, index, list)
	if err = errors.Join(err, looked); err == nil && len(shared) > 0 && (len(left) > 0 || !sameAttributes(before, list)) {
		// git has left the files alone whose objects are as they were, but it may make
		// others of them now.
		shared = nil
		if err := errors.Join(empty(dir), os.Remove(index)); err != nil {
			return nil, nil, err
		}
		if err := s.checkout(ctx, commit, dir, index); err != nil {
			return nil, nil, err
		}
		if _, list, err = b.index(b.release, number); err == nil {
			left, err = s.pointers(ctx, dir, index, list)
		}
	}
	switch {
	case err != nil:
		return nil, nil, &Error{Problem: ErrDamaged, Op: "build " + id, Err: err}
	case len(left) > 0:
		return nil, nil, pointerError(id, left)
	}
	return list, shared, nil
}

// notePaths notes which files a part has, and the digests of those that are shared.
func (b *building) notePaths(p Part, list, shared []entry) {
	for _, e := range list {
		if name := path.Join(p.Path, e.path); !e.absent && e.mode != modeSubmodule {
			b.paths = append(b.paths, name)
		}
	}
	for _, e := range shared {
		name := path.Join(p.Path, e.path)
		b.known[name] = b.reusable[name].digest
	}
	for _, e := range without(list, shared) {
		delete(b.known, path.Join(p.Path, e.path)) // git has written it
	}
}

// empty takes away what is in a directory.
func empty(dir string) error {
	names, err := entries(dir)
	for _, name := range names {
		err = errors.Join(err, remove(filepath.Join(dir, name)))
	}
	return err
}

// partBefore is the number of a part among those of the published release, or -1.
func (b *building) partBefore(p Part) int {
	if b.published == nil || b.published.BuildOptions != b.release.BuildOptions {
		return -1
	}
	return slices.IndexFunc(b.published.Parts, func(old Part) bool {
		return old.Path == p.Path && (p.Path == "" || old.URL == p.URL)
	})
}

// reuse begins a part with the files that the published release has of it, which it
// returns with git's list of all that it had. That not all of them can be had is no
// failure: git makes what is missing.
func (b *building) reuse(oldPart, number int) (shared, before []entry, err error) {
	if oldPart < 0 || b.reusable == nil || b.share() == NoShare {
		return nil, nil, nil
	}
	data, list, err := b.index(b.published, oldPart)
	if err != nil {
		b.log().Debug("nothing is shared with the release before", "release", b.published.ID, "error", err)
		return nil, nil, nil
	}
	prefix := b.published.Parts[oldPart].Path
	shared, err = takeOver(b.share(), b.location(b.published), b.tree(b.release.ID), prefix, list, b.reusable)
	if err != nil || len(shared) == 0 {
		return nil, nil, err
	}
	index := b.indexFile(b.release.ID, number)
	if err := os.WriteFile(index, data, 0o600); err != nil {
		return nil, nil, err
	}
	// It must look younger than all files in it: of a file that was made in the same
	// second git believes nothing, and reads it whole.
	soon := time.Now().Add(2 * time.Second)
	return shared, list, os.Chtimes(index, soon, soon)
}
