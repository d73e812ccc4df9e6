package cache

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/credcache"
)

const (
	// entryLife is the age at which an entry is removed. Tokens live for one hour.
	entryLife = 24 * time.Hour
	// answerLife is the age at which an answer is removed: its token has expired.
	answerLife = time.Hour
	// tempLife is the age at which a file that was being written belongs to a
	// process that was killed. Writing takes milliseconds.
	tempLife = 10 * time.Minute
	// pruneEvery is the least time between two rounds of pruning.
	pruneEvery = time.Hour
	// pruneMark is a file whose time of modification is that of the last round.
	pruneMark = "pruned"
	// pruneMost is the number of names that one round looks at.
	pruneMost = 10_000
)

// prune removes entries, answers and unfinished files that have grown old, at most once an
// hour for all processes together. It is housekeeping after a write that has
// succeeded, so its own failures are nobody's concern: the next round comes. A round
// looks at no more than most names.
func (f *Files) prune(root *os.Root, most int) {
	if mark, err := root.Lstat(pruneMark); err == nil && age(mark) < pruneEvery {
		return
	}
	if touch(root, pruneMark) != nil {
		return
	}
	names, _ := namesIn(root, most)
	for _, name := range names {
		switch {
		case credcache.IsName(name) && isOlder(root, name, answerLife):
			_ = root.Remove(name)
		case isKey(name) && isOlder(root, name, entryLife):
			f.pruneEntry(root, name)
		case strings.HasPrefix(name, tempPrefix) && isOlder(root, name, tempLife):
			_ = root.Remove(name)
		}
	}
}

// all is for namesIn, which then does not stop before the last one.
const all = -1

// namesIn returns the names in the directory, as many as are asked for.
func namesIn(root *os.Root, most int) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(most)
}

// pruneEntry removes an entry if it is old now that nobody can update it: prune
// looked without a lock, so as not to stand in the way of the many that are not.
// One that is in use is left for another time.
func (f *Files) pruneEntry(root *os.Root, key string) {
	unlock, ok := f.tryLock(root, shardOf(key))
	if !ok {
		return
	}
	defer unlock()
	if isOlder(root, key, entryLife) {
		_ = root.Remove(key)
	}
}

// isOlder reports whether a file is there and has at least this age.
func isOlder(root *os.Root, name string, life time.Duration) bool {
	info, err := root.Lstat(name)
	return err == nil && age(info) >= life
}

// age is the time since a file was written, or until then where that lies in the
// future: a clock that was once wrong does not keep a file for ever.
func age(info fs.FileInfo) time.Duration { return time.Since(info.ModTime()).Abs() }

// touch gives a file, made if it is missing, the present time.
func touch(root *os.Root, name string) error {
	// O_EXCL opens nothing that is there, such as a pipe, which would block.
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = file.Close()
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return err
	}
	now := time.Now()
	return root.Chtimes(name, now, now)
}
