//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// The directories beside the published one; see the package comment.
func (t *Target) base() string {
	return filepath.Join(filepath.Dir(t.Dir), "."+filepath.Base(t.Dir)+".ghapp")
}
func (t *Target) lockFile() string        { return filepath.Join(t.base(), "lock") }
func (t *Target) stores() string          { return filepath.Join(t.base(), "modules") }
func (t *Target) releases() string        { return filepath.Join(t.base(), "releases") }
func (t *Target) records() string         { return filepath.Join(t.base(), "records") }
func (t *Target) tree(id string) string   { return filepath.Join(t.releases(), id) }
func (t *Target) record(id string) string { return filepath.Join(t.records(), id) }
func (t *Target) linkText(id string) string {
	return filepath.Join(filepath.Base(t.base()), "releases", id)
}

const (
	linkPrefix  = "link-" // the name of a link begins with it until it is published
	trashPrefix = "old-"  // and that of a tree that is no release any more
)

// busyFor is how long another process may take until this one gives up.
const busyFor = 10 * time.Second

// guard refuses to work where another user could have prepared what is found, or could
// put something else in its place: a store has programs in its configuration, and
// releases are emptied.
func (t *Target) guard() error {
	if !t.TrustParent {
		if err := private.Way(filepath.Dir(t.Dir)); err != nil {
			return t.unsafe(err)
		}
	}
	for _, dir := range []string{t.base(), t.releases(), t.records(), t.stores(), t.mainStore("").dir} {
		err := private.Check(dir, os.Geteuid(), private.Ours)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t.unsafe(err)
		}
	}
	return nil
}

// unsafe is an error of guard.
func (t *Target) unsafe(err error) error {
	if _, ok := errors.AsType[*private.Error](err); ok {
		return &Error{Problem: ErrUnsafe, Op: "keep " + t.Dir, Err: err}
	}
	return err
}

// lock makes the directories and takes the lock of the target, for which it waits that long; whoever
// waits is told for whom. The kernel gives it back when the process ends, however it ends (flock(2)).
func (t *Target) lock(ctx context.Context, patience time.Duration) (unlock func(), err error) {
	if err := t.guard(); err != nil {
		return nil, err
	}
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{
		{filepath.Dir(t.Dir), 0o777}, {t.base(), 0o755}, {t.releases(), 0o755}, {t.records(), 0o700}, {t.stores(), 0o700},
	} {
		if err := os.MkdirAll(dir.name, dir.mode); err != nil {
			return nil, err
		}
	}
	// What was made meanwhile may be another user's.
	if err := t.guard(); err != nil {
		return nil, err
	}
	telling := time.AfterFunc(wait.Patience, func() {
		t.log().Warn("waiting for another process that is at work on the directory",
			"directory", t.Dir, "holder", orUnknown(t.lockHolder()))
	})
	unlock, err = filelock.Take(ctx, t.lockFile(), patience)
	telling.Stop()
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &Error{Problem: ErrBusy, Op: "lock " + t.Dir, Err: t.lockHolder()}
	}
	if err == nil {
		t.noteLockHolder()
	}
	return unlock, err
}

func orUnknown(err error) string {
	if err == nil {
		return "unknown"
	}
	return err.Error()
}

// noteLockHolder notes in the lock file that this process holds the lock, and since when, for those
// who wait for it. That it cannot be noted is no failure: the lock is held all the same.
func (t *Target) noteLockHolder() {
	file, err := os.OpenFile(t.lockFile(), os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = fmt.Fprintf(file, "%d %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
}

// lockHolder says who holds the lock, or is nil where the lock file does not say so.
func (t *Target) lockHolder() error {
	text, err := os.ReadFile(t.lockFile())
	if err != nil {
		return nil
	}
	pid, since, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if _, err := strconv.Atoi(pid); err != nil {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, since); err != nil {
		return nil
	}
	return fmt.Errorf("process %s, since %s", pid, since)
}

// recover finishes, or takes away, what a process that was killed has left behind, and returns
// the published release. The lock is held. What cannot be taken away (a check may have run as
// root) stays, and does no harm.
func (t *Target) recover() (*Release, error) {
	published, err := t.Published()
	if err != nil {
		return nil, err
	}
	if err := t.removeUnusedLinks(); err != nil {
		return nil, err
	}
	if err := t.finishExchange(published); err != nil {
		return nil, err
	}
	known, err := t.list()
	if err != nil {
		return nil, err
	}
	complete := map[string]bool{}
	if published != nil {
		complete[published.ID] = true
	}
	for _, r := range known {
		if published != nil && r.ID == published.ID {
			if err := t.notePublished(r); err != nil {
				return nil, err
			}
			if len(published.Parts) > 0 {
				published = r
			}
		} else if err := t.noteReplaced(r); err != nil {
			return nil, err
		}
		if file := filepath.Join(t.record(r.ID), recordFile+tempSuffix); exists(file) {
			t.removeLeftover(file)
		}
		complete[r.ID] = !r.PublishedAt.IsZero()
	}
	return published, t.removeHalfMade(complete)
}

// removeLeftover takes away what a killed process has left.
func (t *Target) removeLeftover(path string) {
	t.log().Info("taking away what was left half made", "directory", t.Dir, "path", path)
	if err := remove(path); err != nil {
		t.log().Warn("it stays", "directory", t.Dir, "error", err)
	}
}

// removeUnusedLinks takes away the links that were made, and not renamed any more.
func (t *Target) removeUnusedLinks() error {
	names, err := entries(t.base())
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, linkPrefix) {
			t.removeLeftover(filepath.Join(t.base(), name))
		}
	}
	return nil
}

// finishExchange gives the tree that was published before its own name, after an exchange.
func (t *Target) finishExchange(published *Release) error {
	if t.mode() != Directory || published == nil || published.Exchange == "" {
		return nil
	}
	now, own := t.tree(published.ID), t.tree(published.Exchange)
	if published.Exchange == noRelease || !exists(now) || exists(own) {
		return nil
	}
	return os.Rename(now, own)
}

// notePublished notes what the record of the published release does not say: that it was
// published, and which inode it has.
func (t *Target) notePublished(r *Release) error {
	was := *r
	if r.PublishedAt.IsZero() {
		r.PublishedAt = r.BuiltAt // the process was stopped before it could note that
	}
	if there := inode(t.Dir); t.mode() == Directory && r.Inode != there {
		t.log().Info("the directory was moved or copied", "directory", t.Dir, "release", r.ID)
		r.Inode = there
	}
	r.Exchange = ""
	if r.PublishedAt.IsZero() || r.PublishedAt == was.PublishedAt && r.Inode == was.Inode && was.Exchange == "" {
		return nil
	}
	return t.save(r)
}

// noteReplaced takes back what the record of another release says of an exchange, which was cut
// short, or came to its end.
func (t *Target) noteReplaced(r *Release) error {
	if r.Exchange == "" || r.PublishedAt.IsZero() { // of which nothing stays
		return nil
	}
	r.Exchange = ""
	return t.save(r)
}

// removeHalfMade takes away the trees and records of releases that are not complete.
func (t *Target) removeHalfMade(complete map[string]bool) error {
	for _, dir := range []string{t.releases(), t.records()} {
		names, err := entries(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !complete[name] {
				t.removeLeftover(filepath.Join(dir, name))
			}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// recordStale reports whether something is to be noted of the published release: it was copied to
// another inode, or its exchange was cut short.
func (t *Target) recordStale(published *Release) bool {
	return t.mode() == Directory && published != nil && (published.Inode != inode(t.Dir) || published.Exchange != "")
}

// inode is that of a directory, or 0.
func inode(path string) uint64 {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil || uint32(stat.Mode)&unix.S_IFMT != unix.S_IFDIR {
		return 0
	}
	return uint64(stat.Ino)
}

// entries are the names in a directory; none where it does not exist.
func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// remove takes a tree away, also one whose directories a check has made read-only.
func remove(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}
