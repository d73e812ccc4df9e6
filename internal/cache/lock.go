package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"github.com/ghapp-dev/ghapp/internal/wait"
)

// shards is the number of locks, and so of lock files. The files are never
// removed: a lock on a removed file excludes nobody. 256 of them keep the
// directory small; two of ten requests to GitHub at the same time meet in one
// lock once in six times, and then the second waits for the first.
const shards = 256

// poll is the pause between two attempts at a lock that another process holds.
// A request to GitHub takes some hundred milliseconds, an update without one less
// than one: so fifty waiters are through within a few pauses, none overtakes the
// others for long, and together they use a few hundredths of a processor.
const poll = 5 * time.Millisecond

// shardOf returns the lock of an entry: the first byte of its key.
func shardOf(key string) int {
	shard, _ := strconv.ParseUint(key[:2], 16, 8) // isKey has seen them
	return int(shard)
}

func lockName(shard int) string { return fmt.Sprintf("lock-%02x", shard) }

// lock waits until nobody else, in this process or another, holds the shard. The
// error is that of ctx, or a [*StoreError].
func (f *Files) lock(ctx context.Context, root *os.Root, shard int) (unlock func(), err error) {
	// Goroutines queue here, first come first served, and only the first of them
	// asks for the file.
	select {
	case f.turns[shard] <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the cache: %w", ctx.Err())
	}
	if f.Waiting != nil {
		defer time.AfterFunc(wait.Patience, f.Waiting).Stop()
	}
	file := flock.New(filepath.Join(f.dir, lockName(shard)))
	if _, err = file.TryLockContext(ctx, poll); err == nil {
		err = f.verify(root, file)
	}
	unlock = func() {
		_ = file.Unlock() // closes the file, which ends the lock
		<-f.turns[shard]
	}
	if err != nil {
		unlock()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for the cache: %w", ctx.Err())
		}
		return nil, &StoreError{Op: "lock", Dir: f.dir, Err: err}
	}
	return unlock, nil
}

// tryLock is lock without waiting.
func (f *Files) tryLock(root *os.Root, shard int) (unlock func(), ok bool) {
	select {
	case f.turns[shard] <- struct{}{}:
	default:
		return nil, false
	}
	file := flock.New(filepath.Join(f.dir, lockName(shard)))
	unlock = func() {
		_ = file.Unlock()
		<-f.turns[shard]
	}
	if locked, err := file.TryLock(); !locked || err != nil || f.verify(root, file) != nil {
		unlock()
		return nil, false
	}
	return unlock, true
}

// verify makes sure that the locked file is the one in the directory that was
// opened. flock takes a path, and the path may have been a link, or the directory
// may have been removed and made anew in between.
func (f *Files) verify(root *os.Root, file *flock.Flock) error {
	held, err := file.Stat()
	if err != nil {
		return err
	}
	name := filepath.Base(file.Path())
	named, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !named.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file; remove it", name)
	}
	if !os.SameFile(held, named) {
		return errors.New("the directory was replaced meanwhile")
	}
	return nil
}
