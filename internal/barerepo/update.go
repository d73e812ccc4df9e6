package barerepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Options say how a repository follows a remote. The zero value follows branches, tags and notes.
type Options struct {
	// Prefixes are further name spaces of refs that follow the remote, such as refs/pull/.
	Prefixes []string
	// Fleeting says of which refs nothing is kept that they leave behind, nor written in the journal:
	// those that the remote makes by itself, again and again. Nil: there are none.
	Fleeting func(ref string) bool
	// Identity says which repository it is a mirror of, for [Repository.Identity]: letters,
	// digits and -_./= are allowed in it. It is written at the first update.
	Identity string
	// Head is the default branch, without refs/heads/. It is used where git has to fetch, because
	// git fetch does not report the default branch of the remote. Empty: HEAD stays.
	Head string
	// Now is the time that what is kept and the journal have. Zero: the clock's.
	Now time.Time
	// FsckIgnore are checks of git fsck, such as zeroPaddedFilemode, that fetched objects may fail,
	// in addition to those of [gitcmd.Unchecked].
	FsckIgnore []string
	// MaxBytes bounds a pack. Zero: nothing does.
	MaxBytes int64
	// Stall ends a fetch in which nothing comes for so long. Zero: the remote's default.
	Stall time.Duration
	// Progress is told what the remote says of its work, line by line. Nil: nobody is.
	Progress func(line string)

	unknown []string // checks that git does not know
}

// check returns why options cannot be followed.
func (o *Options) check() error {
	for _, prefix := range o.Prefixes {
		name, ok := strings.CutSuffix(prefix, "/")
		if !ok || checkRefName(name+"/x") != nil || strings.HasPrefix(prefix, ours) {
			return fmt.Errorf("%q is no name space of refs that can follow a remote, such as refs/pull/", prefix)
		}
	}
	return checkIdentity(o.Identity)
}

func (o *Options) prefixes() []string { return append(defaultPrefixes(), o.Prefixes...) }

// follows reports whether a ref is one of those that follow the remote.
func (o *Options) follows(name string) bool {
	return slices.ContainsFunc(o.prefixes(), func(p string) bool { return strings.HasPrefix(name, p) })
}

// Result is what an update did, and what it took.
type Result struct {
	Requests  int64 // to the remote, without those of git's own
	Processes int64 // of git, without those of [Remote.ByGit]
	Bytes     int64 // of packs
	// Created, Moved and Deleted are numbers of refs. Forced are those of Moved that were not moved
	// forward; they and the deleted are kept. Deleted refs that are fleeting count for none.
	Created, Moved, Forced, Deleted int
	Kept                            int    // how many refs more are kept than were before
	Last                            *Entry // the last of the journal's; nil: it has no new one
	Head                            string // the default branch, without refs/heads/; empty: HEAD is a commit
	Changed                         bool   // something is not as it was
	First                           bool   // it was made
	Skipped                         []Skipped
	// Aside is where a repository was put that was in the place: one of another object format, with all
	// that it kept, or one that was damaged, where there is something in Lost or Unread.
	Aside string
	// Lost are the refs of ours that [Repository.Mend] could not bring over, since their objects are damaged.
	// Unread are the files that it could not read: what was in them may be known from others.
	Lost, Unread []string
}

// update is an update that is under way.
type update struct {
	*run
	Options
	ctx    context.Context
	from   Remote
	there  *listing
	here   *state
	result Result
}

// Update makes the repository equal to the remote, or makes it. With an error, nothing in it has
// changed: it is an [*Error], git's, the remote's, the system's or that of ctx. But one thing
// may have: where the last step failed, refs that stand in each other's way (a branch a that
// became a/b) may be gone, and are kept.
func (r *Repository) Update(ctx context.Context, from Remote, o Options) (Result, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC().Truncate(time.Second)
	if err := o.check(); err != nil {
		return Result{}, err
	}
	var spent Result
	for try := 1; ; try++ {
		u := &update{run: &run{Repository: r}, Options: o, ctx: ctx, from: from}
		err := u.do()
		u.result.Processes = u.processes + spent.Processes
		u.result.Requests += spent.Requests
		u.result.Bytes += spent.Bytes
		// A ref that moves between the question and the fetch is asked for anew.
		if try == maxTries || !errors.Is(err, gitwire.ErrNotOurRef) {
			return u.result, err
		}
		spent = u.result
	}
}

// maxTries is how often refs are listed and fetched before the update fails, where a fetch is refused
// because refs have moved since they were listed.
const maxTries = 3

func (u *update) do() error {
	there, err := u.exists()
	if err != nil {
		return err
	}
	if there {
		if err := u.checkOnce(); err != nil {
			return err
		}
	}
	if err := u.clean(there); err != nil {
		return err
	}
	if there {
		if u.here, err = u.read(u.ctx); err != nil {
			return err
		}
		if err := u.refill(); err != nil {
			return err
		}
	}
	if err := u.list(); err != nil {
		return err
	}
	switch {
	case !there:
		return u.first()
	case u.there != nil && u.there.format != u.here.format:
		return u.anew()
	}
	return u.later()
}

// list asks the remote for its refs. Where only git can, there is no listing yet.
func (u *update) list() error {
	refs, err := u.from.Refs(u.ctx, u.prefixes()...)
	if errors.Is(err, gitwire.ErrUnsupported) {
		u.log().Debug("the remote is asked by git", "repository", u.Dir, "since", err)
		return nil
	}
	if err != nil {
		return err
	}
	u.result.Requests += int64(refs.Requests)
	return u.take(refs)
}

// take believes a list of refs as far as it can be believed.
func (u *update) take(refs *gitwire.Refs) error {
	if len(refs.List) == 0 && u.here != nil {
		refs.Format = u.here.format // which nothing tells
	}
	var err error
	if u.there, err = newListing(refs, u.follows); err != nil {
		return &Error{Problem: ErrListing, Op: "list the refs for " + u.Dir, Err: err}
	}
	u.result.Skipped = u.there.skipped
	return nil
}

// first makes the repository, whole or not at all.
func (u *update) first() error {
	made := u.temp()
	if err := os.MkdirAll(filepath.Dir(made), 0o777); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(made) }() // what is published is not there any more
	if err := u.make(made); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(u.Dir), 0o777); err != nil {
		return err
	}
	if err := os.Rename(made, u.Dir); err != nil {
		return err
	}
	u.step("published")
	u.result.First, u.result.Changed, u.result.Created = true, true, len(u.there.refs)
	return flush.Parent(u.Dir)
}

// anew makes a repository of another object format in the place of the one that is there, which
// is put aside: of what was in it nothing is lost.
func (u *update) anew() error {
	made, aside := u.temp(), u.Dir+"."+u.here.format+"-"+stamp(u.Now)
	defer func() { _ = os.RemoveAll(made) }()
	if err := u.make(made); err != nil {
		return err
	}
	if err := os.Rename(u.Dir, aside); err != nil {
		return err
	}
	u.step("aside")
	u.result.Aside = aside
	if err := os.Rename(made, u.Dir); err != nil {
		return errors.Join(err, os.Rename(aside, u.Dir))
	}
	u.step("published")
	u.result.First, u.result.Changed, u.result.Created = true, true, len(u.there.refs)
	if len(u.here.refs) == 0 { // there was nothing in it
		u.result.Aside = ""
		_ = os.RemoveAll(aside)
	}
	return flush.Parent(u.Dir)
}

// make makes a repository in a directory that nobody else looks at, and has it on the disk.
func (u *update) make(dir string) error {
	format, head := gitwire.SHA1, ""
	if u.there != nil {
		format, head = u.there.format, u.there.head
	}
	if err := u.skeleton(dir, format, head); err != nil {
		return err
	}
	u.step("made")
	native := u.there != nil
	if native && len(u.there.refs) > 0 {
		err := u.receive(dir, "", true, wantsOf(u.there.refs, nil), nil)
		if native = !errors.Is(err, gitwire.ErrUnsupported); native && err != nil {
			return err
		}
	}
	if !native {
		if err := u.makeByGit(dir, format); err != nil {
			return err
		}
	}
	u.step("received")
	if err := u.there.prove(filepath.Join(dir, "objects", "pack"), false); err != nil {
		return err
	}
	u.result.Head = strings.TrimPrefix(orMain(u.there.head), heads)
	if len(u.there.refs) > 0 {
		if err := writePacked(filepath.Join(dir, "packed-refs"), u.there.refs); err != nil {
			return err
		}
	}
	u.step("written")
	defer u.step("flushed")
	return flush.Tree(dir)
}

// orMain returns head, or refs/heads/main where head is empty because no default branch is known.
func orMain(head string) string { return cmp.Or(head, heads+"main") }

// skeleton is an empty repository: as little as git takes for one (gitrepository-layout(5)), since
// to make files is most of what a mirror of a small repository costs.
func (u *update) skeleton(dir, format, head string) error {
	for _, name := range []string{"", "objects", "objects/pack", "refs"} {
		if err := os.Mkdir(filepath.Join(dir, filepath.FromSlash(name)), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for name, text := range map[string][]byte{
		"config": configuration(format, u.Identity, u.Now),
		"HEAD":   []byte("ref: " + orMain(head) + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// writeHead writes what HEAD stands for, by git's own lock of that file.
func (u *update) writeHead(dir, target string) error {
	return replaceFile(filepath.Join(dir, "HEAD"), "ref: "+target+"\n")
}

// replaceFile writes the file of a ref, by git's own lock of it.
func replaceFile(name, text string) error {
	file, err := atomicfile.Begin(name, atomicfile.Options{Temp: name + ".lock", Perm: 0o666, Ours: true})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Commit()
}

// wantsOf are the IDs of refs that are not among those that are had, sorted, each once.
func wantsOf(refs map[string]string, had map[string]bool) []string {
	wants := map[string]bool{}
	for _, id := range refs {
		if !had[id] {
			wants[id] = true
		}
	}
	return slices.Sorted(maps.Keys(wants))
}

// later brings a repository up to date that is there.
func (u *update) later() error {
	if u.there == nil {
		return u.laterByGit()
	}
	had := map[string]bool{}
	for _, id := range u.here.refs {
		had[id] = true
	}
	wants := wantsOf(u.there.refs, had)
	if len(wants) == 0 {
		return u.move(nil)
	}
	q, err := u.quarantine()
	if err != nil {
		return err
	}
	defer q.remove()
	u.step("quarantined")
	err = u.receive(u.Dir, q.Objects, false, wants, u.haves())
	if errors.Is(err, gitwire.ErrUnsupported) {
		q.remove()
		return u.laterByGit()
	}
	if err != nil {
		return err
	}
	return u.admit(q, wants)
}

// admit lets in what is in the quarantine, when it is proved to be whole, and moves the refs.
func (u *update) admit(q *inQuarantine, wants []string) error {
	u.step("received")
	// What is here already, git looks at when it moves the refs.
	if err := u.there.prove(q.Packs(), true); err != nil {
		return err
	}
	rows, err := u.connected(q, wants)
	if err != nil {
		return err
	}
	u.step("connected")
	if err := q.admit(); err != nil {
		return err
	}
	return u.move(rows)
}

// maxHaves bounds how many of the commits that are here a remote is told.
const maxHaves = 1024

// haves are commits that are here and that the remote probably has too. Since they are cut off after
// maxHaves, the most useful come first: the commit of HEAD, the former commits of refs that the remote
// has moved, then branches that have not moved, and other refs last.
func (u *update) haves() []string {
	var moved, branches, others []string
	for _, name := range slices.Sorted(maps.Keys(u.here.refs)) {
		id := u.here.refs[name]
		switch {
		case id == "" || strings.HasPrefix(name, ours) || !u.follows(name):
		case u.there.refs[name] != id:
			moved = append(moved, id)
		case strings.HasPrefix(name, heads):
			branches = append(branches, id)
		default:
			others = append(others, id)
		}
	}
	if id := u.here.refs[u.here.head]; id != "" {
		moved = append([]string{id}, moved...)
	}
	var haves []string
	seen := map[string]bool{}
	for _, id := range slices.Concat(moved, branches, others) {
		if !seen[id] && len(haves) < maxHaves {
			seen[id] = true
			haves = append(haves, id)
		}
	}
	return haves
}

func (u *update) op() string { return fmt.Sprintf("bring %s up to date", u.Dir) }
