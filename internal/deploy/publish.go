//go:build unix

package deploy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Outcome is what [Target.Publish] did.
type Outcome struct {
	Release *Release // what is published now
	Changed bool     // it was published just now
	Fetched int64    // bytes that were fetched for it, as git stores them
}

// upkeepEvery is after how many releases the stores are packed anew.
const upkeepEvery = 50

// Current reports whether a commit is what is published, so that there is nothing to do:
// no command after it is still owed, and it was made as it is wanted now. It takes no
// lock and runs no process.
func (t *Target) Current(commit string) (bool, error) {
	r, err := t.Published()
	return err == nil && t.settled(r, commit), err
}

func (t *Target) settled(r *Release, commit string) bool {
	return r != nil && r.Commit == commit && r.Makeup == t.makeup() && r.Exec != execPending && !r.PublishedAt.IsZero()
}

// Publish brings the directory to a commit: it fetches it, builds its files beside the
// directory, and puts them into its place once they are whole, on the disk, and the
// check has succeeded. After a failure the directory shows what it showed before, but
// for [ErrExec], which comes after the change. What is published already is left alone.
//
// The errors are [*Error], [*HeldError], [*gitcmd.Error], [*os.PathError] and its like,
// and the cause of a context that ended.
func (t *Target) Publish(ctx context.Context, w Want) (*Outcome, error) {
	const op = "publish in"
	published, err := t.Published()
	if err != nil {
		return nil, err
	}
	if !w.Again && t.settled(published, w.Commit) {
		return &Outcome{Release: published}, nil
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return nil, t.fail(op, err)
	}
	defer unlock()
	published, err = t.mend() // nobody else changes it now
	if err != nil {
		return nil, t.fail(op, err)
	}
	switch {
	case w.Again:
	case t.settled(published, w.Commit):
		return &Outcome{Release: published}, nil
	case published != nil && published.Commit == w.Commit && published.Makeup == t.makeup():
		// The process that published it was stopped before the command after it was done.
		return &Outcome{Release: published}, t.after(ctx, published, published.Previous)
	case published != nil && slices.Contains(published.Held, w.Commit):
		return nil, &HeldError{Dir: t.Dir, Commit: w.Commit, Since: published.HeldSince}
	}
	// Thousands of files are taken away while git fetches, and not while somebody waits
	// for what was pushed.
	var beside sync.WaitGroup
	beside.Go(t.sweep)
	defer beside.Wait()
	before := t.main(w.URL).size()
	r, err := t.build(ctx, w, published, (*store).fetch)
	if err != nil && t.repair(ctx, err) {
		r, err = t.build(ctx, w, published, (*store).fetch)
	}
	if err != nil {
		return nil, t.fail(op, err)
	}
	if published != nil && published.Commit == r.Commit { // it is made in another way
		r.Held, r.HeldSince = published.Held, published.HeldSince
	}
	if err := t.put(r, published); err != nil {
		return nil, t.fail(op, err)
	}
	t.log().Info("published", "directory", t.Dir, "commit", r.Commit, "release", r.ID, "previous", r.Previous)
	outcome := &Outcome{Release: r, Changed: true, Fetched: max(0, t.main(w.URL).size()-before)}
	err = t.after(ctx, r, r.Previous)
	t.clean(ctx, r, published)
	return outcome, err
}

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
		r.Exec = execPending
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

// drop takes a release away, its record first: without that it is half made.
func (t *Target) drop(id string) error {
	err := os.Remove(filepath.Join(t.record(id), recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, remove(t.record(id)), remove(t.tree(id)))
}

// retire has a release be none any more. Its files are taken away beside the next fetch.
func (t *Target) retire(id string) error {
	if err := os.Remove(filepath.Join(t.record(id), recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(t.tree(id), filepath.Join(t.base(), oldTree+id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return remove(t.record(id))
}

// sweep takes the files of retired releases away.
func (t *Target) sweep() {
	names, err := entries(t.base())
	for _, name := range names {
		if strings.HasPrefix(name, oldTree) {
			err = errors.Join(err, remove(filepath.Join(t.base(), name)))
		}
	}
	if err != nil {
		t.log().Warn("files of an old release stay", "directory", t.Dir, "error", err)
	}
}

// put publishes a release by one rename. After a failure a new one is gone. Nothing that
// goes wrong after the rename is an error.
func (t *Target) put(r, published *Release) error {
	err := t.save(r)
	if err == nil && t.mode() == Directory {
		err = t.exchange(r, published)
	} else if err == nil {
		err = t.link(r)
	}
	if err != nil {
		if now, looked := t.Published(); looked == nil && r.PublishedAt.IsZero() && (now == nil || now.ID != r.ID) {
			err = errors.Join(err, t.drop(r.ID))
		}
		return err
	}
	r.PublishedAt = time.Now().UTC()
	if t.mode() == Directory {
		err = t.rename() // the next one does it otherwise
	}
	if err = errors.Join(err, flushFile(filepath.Dir(t.Dir)), t.save(r)); err != nil {
		t.log().Warn("the release is published, but something after that went wrong", "directory", t.Dir, "error", err)
	}
	return nil
}

// link has Dir lead to the release. A link that lies in the way is replaced in one step.
func (t *Target) link(r *Release) error {
	name := filepath.Join(t.base(), newLink+r.ID)
	if err := os.Symlink(t.linkText(r.ID), name); err != nil {
		return err
	}
	var err error
	if info, looked := os.Lstat(t.Dir); looked == nil && info.IsDir() {
		err = os.Remove(t.Dir) // it is empty, or else Published had refused it
	}
	if err == nil {
		err = os.Rename(name, t.Dir)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// exchange makes the tree of the release Dir, and gives the one that was there its name.
func (t *Target) exchange(r, published *Release) error {
	if published == nil {
		// Over an empty directory too, which os.Rename refuses.
		if err := unix.Rename(t.tree(r.ID), t.Dir); err != nil {
			return &os.LinkError{Op: "rename", Old: t.tree(r.ID), New: t.Dir, Err: err}
		}
		return nil
	}
	err := exchange(t.tree(r.ID), t.Dir)
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return &Error{Problem: ErrNoExchange, Op: "publish in " + t.Dir, Err: err}
	}
	return err
}

// after runs the command after a release, and notes what became of it.
func (t *Target) after(ctx context.Context, r *Release, previous string) error {
	if t.Exec.Line == "" && r.Exec == "" {
		return nil
	}
	err := t.run(ctx, "exec", t.Exec, t.Dir, r, previous)
	switch {
	case ctx.Err() != nil:
		return err // it is still owed
	case err != nil:
		r.Exec = execFailed
	default:
		r.Exec = execDone
	}
	return errors.Join(err, t.save(r))
}

// clean takes the releases away that are not kept. What goes wrong is no failure: the
// next one takes them away.
func (t *Target) clean(ctx context.Context, r, before *Release) {
	list, err := t.list()
	if err != nil {
		t.log().Warn("old releases stay", "directory", t.Dir, "error", err)
		return
	}
	kept := map[string]bool{r.ID: true}
	if before != nil {
		kept[before.ID] = true
	}
	for _, old := range slices.Backward(list) {
		if kept[old.ID] || len(kept) < t.keep() {
			kept[old.ID] = true
			continue
		}
		if err := t.retire(old.ID); err != nil {
			t.log().Warn("an old release stays", "directory", t.Dir, "release", old.ID, "error", err)
		}
	}
	if r.number()%upkeepEvery != 0 || ctx.Err() != nil {
		return
	}
	t.upkeep(ctx, kept)
}

// upkeep packs the stores, and takes those away that no release needs.
func (t *Target) upkeep(ctx context.Context, kept map[string]bool) {
	list, err := t.list()
	if err != nil {
		return
	}
	used := map[string]*store{}
	for _, r := range list {
		for _, p := range r.Parts {
			s := t.storeOf(p)
			used[s.dir] = s
		}
	}
	names, _ := entries(t.stores())
	for _, name := range names {
		if dir := filepath.Join(t.stores(), name); used[dir] == nil {
			_ = remove(dir)
		}
	}
	for _, s := range used {
		if err := s.forget(ctx, kept); err != nil {
			t.log().Warn("what was fetched is not packed", "directory", t.Dir, "error", err)
		}
	}
}
