package mirror

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/regular"
)

// A mirror that was found damaged has a file in DIR/.ghapp/damaged/, named by the identity of the
// mirror, with what was found: so that whoever finds it need not be who mends it.

func damagedDir(dir string) string { return filepath.Join(dir, own, "damaged") }

// mark is the file of a mirror.
func mark(dir, identity string) string {
	return filepath.Join(damagedDir(dir), fileOf(identity))
}

// markDamaged has the next pass mend a mirror.
func markDamaged(dir, identity string, cause error) error {
	return setMark(dir, identity, "", cause.Error())
}

// Large files that are damaged or missing have a mark of their own, which names them, each in a line:
// what git has of that mirror may be whole.

const largeMark = ".lfs"

// markLarge has the next pass that keeps large files fetch some anew.
func markLarge(dir, identity string, ids []string) error {
	return setMark(dir, identity, largeMark, strings.Join(ids, "\n"))
}

// differMark is of a mirror whose refs are not those of GitHub, though nothing has told of a push.
const differMark = ".differs"

// markDiffering has the next pass compare a mirror.
func markDiffering(dir, identity string, refs []string) error {
	return setMark(dir, identity, differMark, strings.Join(refs, "\n"))
}

// historyMark is of a mirror that has lost some of its history. No pass mends that, and it stays until a full
// run goes on with what is there, or verify finds all of it again.
const historyMark = ".history"

// markHistory notes for who asks for the status what verify has found.
func markHistory(dir, identity string, cause error) error {
	return setMark(dir, identity, historyMark, cause.Error())
}

// Finding is what verify has found of a mirror, that no run has mended since.
type Finding string

// The findings, the worst first, as verify has them.
const (
	Damaged     Finding = "damaged"
	HistoryLost Finding = "history-lost"
	Lacking     Finding = "lacking" // large files
	Differs     Finding = "differs"
)

// FindingOf is the worst of a repository's mirror, or its wiki's, in a directory; "": there is none.
func FindingOf(dir string, id int64, wiki bool) Finding {
	for _, m := range []struct {
		suffix string
		is     Finding
	}{{"", Damaged}, {historyMark, HistoryLost}, {largeMark, Lacking}, {differMark, Differs}} {
		if seenMark(dir, identityOf(id, wiki), m.suffix) != "" {
			return m.is
		}
	}
	return ""
}

// markedLarge are the large files that were found damaged or missing.
func markedLarge(seen string) []string {
	return slices.DeleteFunc(strings.Fields(seen), func(id string) bool { return !lfsstore.IsID(id) })
}

// marking has one process at a time change marks: who has done what one asks for takes it away, and not one that
// somebody else has set meanwhile.
func marking(dir string, change func() error) error {
	unlock, err := filelock.Take(context.Background(), damagedDir(dir)+".lock", marksPatience)
	if errors.Is(err, filelock.ErrHeld) {
		return err
	}
	if err == nil { // else the file system has no locks
		defer unlock()
	}
	return change()
}

// marksPatience is how long others may take to write a mark.
const marksPatience = 10 * time.Second

// setMark writes a mark, which says when, so that no two are the same.
func setMark(dir, identity, suffix, content string) error {
	path := mark(dir, identity) + suffix
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return marking(dir, func() error {
		file, err := atomicfile.Begin(path, atomicfile.Options{Perm: 0o666})
		if err != nil {
			return err
		}
		defer file.Discard()
		if _, err := file.WriteString(content + "\n" + time.Now().UTC().Format(time.RFC3339Nano) + "\n"); err != nil {
			return err
		}
		return file.Commit()
	})
}

// mostMark bounds what is read of a mark, in bytes.
const mostMark = 64 << 20

// seenMark is what a mark says before the work that it asks for begins; empty: there is none.
func seenMark(dir, identity, suffix string) string {
	content, _ := regular.Read(mark(dir, identity)+suffix, mostMark)
	return string(content)
}

// endMark takes a mark away whose work is done, unless it has been set anew since it was seen.
func endMark(dir, identity, suffix, seen string) error {
	if seen == "" {
		return nil
	}
	return marking(dir, func() error {
		if seenMark(dir, identity, suffix) != seen {
			return nil
		}
		return ignoreMissing(os.Remove(mark(dir, identity) + suffix))
	})
}

// marks are the mirrors that are to be mended or compared, by the IDs of their repositories, or of
// their wikis.
type marks struct{ git, large map[int64]bool }

// damaged are those that have a mark.
func damaged(dir string) (code, wikis marks) {
	code, wikis = marks{map[int64]bool{}, map[int64]bool{}}, marks{map[int64]bool{}, map[int64]bool{}}
	list, err := os.ReadDir(damagedDir(dir))
	if err != nil {
		return code, wikis
	}
	for _, e := range list {
		name, large := strings.CutSuffix(strings.TrimSuffix(e.Name(), differMark), largeMark)
		name, wiki := strings.CutSuffix(name, "-wiki")
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		of := code
		if wiki {
			of = wikis
		}
		if large {
			of.large[id] = true
		} else {
			of.git[id] = true
		}
	}
	return code, wikis
}

// bring brings a mirror up to date, or mends it where it was found damaged, or is found to be now. before
// is what it was when it was last brought up to date; nil: that is not known.
func (t *transfers) bring(ctx context.Context, r *barerepo.Repository, from barerepo.Remote, o barerepo.Options,
	before barerepo.Stat) (barerepo.Result, error) {
	// Where a mirror that waits for its place is looked for, if this process is killed.
	aside := filepath.Join(t.dir, own, "moving", fileOf(o.Identity)+".damaged.git")
	damaged, differs := seenMark(t.dir, o.Identity, ""), seenMark(t.dir, o.Identity, differMark)
	_, gone := os.Lstat(r.Dir)
	if damaged != "" && gone != nil { // one has been killed while the two changed places
		gone = rename(aside, r.Dir)
	}
	if damaged != "" && gone == nil {
		found, _, _ := strings.Cut(damaged, "\n")
		t.Log.Warn("a mirror is damaged, and is made anew", "mirror", r.Dir, "error", found)
		return t.mend(ctx, r, from, o, aside)
	}
	result, err := t.renew(ctx, r, from, o, before)
	if errors.Is(err, barerepo.ErrDamaged) {
		t.Log.Warn("a mirror is damaged, and is made anew", "mirror", r.Dir, "error", err)
		if err := markDamaged(t.dir, o.Identity, err); err != nil {
			return result, err
		}
		mended, err := t.mend(ctx, r, from, o, aside)
		mended.Requests += result.Requests
		mended.Processes += result.Processes
		mended.Bytes += result.Bytes
		return mended, err
	}
	if err == nil {
		err = errors.Join(endMark(t.dir, o.Identity, "", damaged), endMark(t.dir, o.Identity, differMark, differs))
	}
	return result, err
}

// renew brings a mirror up to date. One that somebody else has changed is looked at before.
func (t *transfers) renew(ctx context.Context, r *barerepo.Repository, from barerepo.Remote, o barerepo.Options,
	before barerepo.Stat) (result barerepo.Result, err error) {
	if now := r.Stat(); before != nil && !now.Equal(before) && len(now) > 0 {
		t.Log.Info("a mirror was changed by somebody else, and is compared", "mirror", r.Dir)
		damaged := func(detail string) error {
			return &barerepo.Error{Problem: barerepo.ErrDamaged, Op: "look at " + r.Dir, Detail: detail}
		}
		if lacks := now.Lacks(before); lacks != "" {
			return result, damaged("it has no " + lacks + " any more")
		}
		if id, err := r.Identity(); err != nil || id != o.Identity {
			return result, damaged("its configuration does not say any more of which repository it is")
		}
		result.Processes = 1
		if err := r.CheckTips(ctx); err != nil {
			return result, err
		}
	}
	looked := result.Processes
	result, err = r.Update(ctx, from, o)
	result.Processes += looked
	return result, err
}

// fileOf is the name of a file that stands for a mirror.
func fileOf(identity string) string { return strings.ReplaceAll(identity, "/", "-") }

// mend makes a damaged mirror anew.
func (t *transfers) mend(ctx context.Context, r *barerepo.Repository, from barerepo.Remote, o barerepo.Options,
	aside string) (barerepo.Result, error) {
	damaged, differs := seenMark(t.dir, o.Identity, ""), seenMark(t.dir, o.Identity, differMark)
	if err := os.RemoveAll(aside); err != nil {
		return barerepo.Result{}, err
	}
	mended, err := r.Mend(ctx, from, aside, o)
	if err != nil {
		return mended, err
	}
	if lost := slices.Concat(mended.Lost, mended.Unread); len(lost) > 0 {
		stays := filepath.Join(damagedDir(t.dir), fileOf(o.Identity)+"-"+time.Now().UTC().Format("20060102T150405Z")+".git")
		if err := os.Rename(mended.Aside, stays); err != nil {
			return mended, err
		}
		mended.Aside = stays
		t.Log.Warn("a damaged mirror was made anew; some of what it kept could not be read, and it was put aside",
			"mirror", r.Dir, "lost", strings.Join(lost, " "), "aside", stays)
	} else {
		t.Log.Info("a damaged mirror was made anew, with all that it kept", "mirror", r.Dir)
	}
	return mended, errors.Join(endMark(t.dir, o.Identity, "", damaged),
		endMark(t.dir, o.Identity, differMark, differs))
}
