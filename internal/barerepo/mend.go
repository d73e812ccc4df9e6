package barerepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Mend fetches the repository anew, beside the one that is damaged, brings over what only that one
// has (what is kept, the journal, its configuration, large files), proves the new one to be whole,
// and has the two change places: the damaged one goes to aside, an absolute path on the same file
// system at which nothing is, and is taken away once nothing is missing in the new one. With an
// error, everything is as it was, but that a process that is killed between two renames leaves
// nothing in the place.
func (r *Repository) Mend(ctx context.Context, from Remote, aside string, o Options) (m Result, err error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC().Truncate(time.Second)
	fresh := &Repository{Dir: r.temp() + ".whole", Temp: r.temp(), Git: r.Git, Log: r.Log, fault: r.fault}
	if err := os.RemoveAll(fresh.Dir); err != nil {
		return m, err
	}
	defer func() { _ = os.RemoveAll(fresh.Dir) }()
	m, err = fresh.Update(ctx, from, o)
	if err != nil {
		return m, err
	}
	u := &update{run: &run{Repository: fresh}, Options: o, ctx: ctx}
	if u.here, err = u.read(ctx); err != nil {
		return m, err
	}
	m.Lost, m.Unread, err = u.bringOver(r)
	m.Processes += u.processes
	m.Kept = u.result.Kept
	if err == nil {
		err = fresh.Fsck(ctx)
	}
	if err == nil {
		err = flush.Tree(fresh.Dir)
	}
	if err != nil {
		return m, err
	}
	r.step("mended")
	return m, r.replace(fresh, aside, &m)
}

// replace has a repository take the place of this one.
func (r *Repository) replace(fresh *Repository, aside string, m *Result) error {
	if err := os.MkdirAll(filepath.Dir(aside), 0o777); err != nil {
		return err
	}
	if err := os.Rename(r.Dir, aside); err != nil {
		return err
	}
	r.step("aside")
	if err := os.Rename(fresh.Dir, r.Dir); err != nil {
		return errors.Join(err, os.Rename(aside, r.Dir))
	}
	r.step("published")
	if err := flush.Parent(r.Dir); err != nil {
		return err
	}
	m.First, m.Changed, m.Aside = false, true, aside
	if len(m.Lost)+len(m.Unread) > 0 {
		return nil
	}
	m.Aside = ""
	return os.RemoveAll(aside)
}

// bringOver takes into a new repository what only the damaged one has. lost are refs, and unread files.
func (u *update) bringOver(damaged *Repository) (lost, unread []string, err error) {
	old, err := (&run{Repository: damaged}).salvage(u.ctx, u.here.format)
	if err != nil {
		return nil, nil, err
	}
	if old.format != u.here.format {
		return []string{"all that was kept"}, nil, nil
	}
	at := old.unusedTime(u.Now)
	refs, entries := u.leftBehind(old, at)
	missing, err := u.absent(refs, at)
	if err != nil {
		return nil, nil, err
	}
	unreadable, err := u.borrow(damaged, missing)
	if err != nil {
		return nil, nil, err
	}
	for name, id := range refs {
		if unreadable[id] {
			lost = append(lost, name)
			delete(refs, name)
		}
	}
	for _, name := range old.emptied {
		if old.refs[name] == "" && !u.follows(name) {
			lost = append(lost, name)
		}
	}
	if err := u.unkept(refs, old.recalled); err != nil {
		return nil, nil, err
	}
	unmade, err := u.create(refs)
	if err != nil {
		return nil, nil, err
	}
	lost = append(lost, unmade...)
	for name := range refs {
		if strings.HasPrefix(name, keptRefs+stamp(at)+"/") && !slices.Contains(unmade, name) {
			u.result.Kept++
		}
	}
	if err := u.inherit(damaged, entries); err != nil {
		return nil, nil, err
	}
	if err := linkTree(damaged.path("lfs"), u.path("lfs")); err != nil {
		u.log().Warn("large files of a damaged repository cannot be read", "repository", damaged.Dir, "error", err)
		lost = append(lost, "large files")
	}
	slices.Sort(lost)
	return lost, old.unread, u.ctx.Err()
}

// leftBehind are the refs that the new repository is to have beside its own, and what the journal
// is to say of those that have moved since.
func (u *update) leftBehind(old *state, at time.Time) (map[string]string, []Entry) {
	refs := map[string]string{}
	var entries []Entry
	for name, id := range old.refs {
		now, both := u.here.refs[name]
		switch {
		case id == "" || both && now == id:
		case strings.HasPrefix(name, ours), !u.follows(name):
			refs[name] = id
		default:
			refs[keptName(at, name)] = id
			entries = append(entries, Entry{at, name, id, now})
		}
	}
	for name, now := range u.here.refs {
		if _, both := old.refs[name]; !both && now != "" {
			entries = append(entries, Entry{at, name, "", now})
		}
	}
	if old.head != u.here.head && !(old.headless && old.head == "") {
		entries = append(entries, Entry{at, "HEAD", old.head, u.here.head})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Ref, b.Ref) })
	return refs, entries
}

// absent are the objects of refs that the new repository does not have. What it has is held by its
// own refs, and needs no other that it had a moment ago.
func (u *update) absent(refs map[string]string, at time.Time) ([]string, error) {
	missing, err := u.missing(wantsOf(refs, nil))
	if err != nil {
		return nil, err
	}
	for name, id := range refs {
		if strings.HasPrefix(name, keptRefs+stamp(at)+"/") && !slices.Contains(missing, id) {
			delete(refs, name) // it was moved forward
		}
	}
	return missing, nil
}

// missing are those of some objects that the repository does not have.
func (u *update) missing(ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	git := u.git(u.Dir, "")
	git.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, err := u.output(u.ctx, git, "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		if id, ok := strings.CutSuffix(strings.TrimSuffix(line, "\n"), " missing"); ok {
			list = append(list, id)
		}
	}
	return list, nil
}

// borrow packs what a damaged repository has of some objects and of all that they need, and returns
// those of which not everything can be read.
func (u *update) borrow(damaged *Repository, ids []string) (unreadable map[string]bool, err error) {
	unreadable = map[string]bool{}
	if len(ids) == 0 {
		return unreadable, nil
	}
	if err := checkFiles(damaged.Dir, "objects"); err != nil {
		return nil, err
	}
	u.checked = true // what follows is no borrowing that somebody else has thought of
	info := u.path("objects", "info")
	alternates := filepath.Join(info, "alternates")
	from := damaged.path("objects")
	if strings.Contains(from, "\n") {
		return nil, fmt.Errorf("%q cannot be named to git", from)
	}
	if err := errors.Join(os.MkdirAll(info, 0o777), os.WriteFile(alternates, []byte(from+"\n"), 0o666)); err != nil {
		return nil, err
	}
	var have strings.Builder
	for _, id := range wantsOf(u.here.refs, map[string]bool{"": true}) {
		have.WriteString("^" + id + "\n")
	}
	if err := u.borrowSome(ids, have.String(), unreadable); err != nil {
		return nil, err
	}
	return unreadable, os.Remove(alternates)
}

// borrowSome halves what cannot be packed as a whole, or is in its pack under the name of another object.
func (u *update) borrowSome(ids []string, have string, unreadable map[string]bool) error {
	git := u.git(u.Dir, "", "core.fsync=none")
	git.Stdin = strings.NewReader(have + strings.Join(ids, "\n") + "\n")
	made, err := u.output(u.ctx, git, "pack-objects", "--revs", "--quiet", "--non-empty", "--delta-base-offset",
		u.path("objects", "pack", "pack"))
	if err == nil {
		err = u.proveBorrowed(strings.TrimSpace(string(made)))
	}
	switch {
	case err == nil:
		return nil
	case !u.refused(err):
		return err
	case len(ids) == 1:
		unreadable[ids[0]] = true
		return nil
	}
	middle := len(ids) / 2
	if err := u.borrowSome(ids[:middle], have, unreadable); err != nil {
		return err
	}
	return u.borrowSome(ids[middle:], have, unreadable)
}

// proveBorrowed proves that the objects of a pack are what their names say, which git takes for granted
// when it packs them, or takes the pack away. Without a name nothing had to be packed.
func (u *update) proveBorrowed(name string) error {
	if name == "" {
		return nil
	}
	pack := u.path("objects", "pack", "pack-"+name)
	err := u.call(u.ctx, u.git(u.Dir, ""), "index-pack", "--verify", pack+".pack")
	if err == nil {
		return nil
	}
	list, globbing := filepath.Glob(globQuoted(pack) + ".*")
	if globbing != nil {
		return globbing
	}
	for _, file := range list {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return err
}

// refused reports whether git has ended by itself, with an error.
func (u *update) refused(err error) bool {
	e, ok := errors.AsType[*gitcmd.Error](err)
	return ok && e.ExitCode > 0 && u.ctx.Err() == nil
}

// create makes refs, and returns those that git does not make, such as one whose name is in the way of
// another's.
func (u *update) create(refs map[string]string) (unmade []string, err error) {
	return u.createSome(slices.Sorted(maps.Keys(refs)), refs)
}

func (u *update) createSome(names []string, refs map[string]string) (unmade []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "create %s\x00%s\x00", name, refs[name])
	}
	git := u.git(u.Dir, "")
	git.Stdin = &b
	err = u.call(u.ctx, git, "update-ref", "--no-deref", "--stdin", "-z")
	switch {
	case err == nil || !u.refused(err):
		return nil, err
	case len(names) == 1:
		return names, nil
	}
	middle := len(names) / 2
	first, err := u.createSome(names[:middle], refs)
	if err != nil {
		return nil, err
	}
	rest, err := u.createSome(names[middle:], refs)
	return append(first, rest...), err
}

// inherit takes over the configuration and the journal. One that cannot be read counts as lost already.
func (u *update) inherit(damaged *Repository, entries []Entry) error {
	if err := u.inheritConfig(damaged); err != nil {
		return err
	}
	if _, _, err := readEntries(damaged.Dir); err == nil {
		if err := copyFile(journal(damaged.Dir), journal(u.Dir)); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return errors.Join(beginBatch(u.Dir, entries), endBatch(u.Dir))
}

// inheritConfig takes over the configuration, in which may stand what somebody has written. Of one that
// does not say which repository it is of nothing is taken, and the new one says what it did of the history.
func (u *update) inheritConfig(damaged *Repository) error {
	id, err := damaged.Identity()
	if err == nil && id == u.Identity && checkConfiguration(damaged.Dir) == nil && u.readable(damaged.path("config")) {
		return copyFile(damaged.path("config"), u.path("config"))
	}
	since := beginning(damaged.Dir)
	if since.IsZero() {
		return nil
	}
	return os.WriteFile(u.path("config"), configuration(u.here.format, u.Identity, since), 0o666)
}

// readable reports whether git can read a file of its configuration.
func (u *update) readable(file string) bool {
	git := u.git(u.Dir, "")
	git.Stdout = io.Discard
	return u.call(u.ctx, git, "config", "--file", file, "--list", "--name-only") == nil
}

// copyFile copies a file, if there is one.
func copyFile(from, to string) error {
	text, err := readFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o666)
}

// linkTree has the files of a directory in another one, too.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, below), 0o777)
		case d.Type().IsRegular():
			return os.Link(path, filepath.Join(to, below))
		}
		return nil
	})
}

// Differences are the refs in which a repository is not what a remote has, of those that follow it
// and begin with one of some prefixes; "HEAD" where the default branch is another. The error wraps
// [ErrListing].
func (s *Snapshot) Differences(refs *gitwire.Refs, prefixes ...string) ([]string, error) {
	within := func(name string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	if len(refs.List) == 0 {
		refs.Format = s.Format
	}
	there, err := newListing(refs, within)
	if err != nil {
		return nil, &Error{Problem: ErrListing, Op: "compare the refs", Err: err}
	}
	var list []string
	for name, id := range there.refs {
		if s.Refs[name] != id {
			list = append(list, name)
		}
	}
	for name := range s.Refs {
		if _, both := there.refs[name]; !both && within(name) {
			list = append(list, name)
		}
	}
	if there.head != "" && there.head != s.Head {
		list = append(list, "HEAD")
	}
	slices.Sort(list)
	return list, nil
}
