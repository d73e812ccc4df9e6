// Package filelock has one process at a time do something. The system takes a lock back
// when its process ends, however it ends.
package filelock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/ghapp-dev/ghapp/internal/wait"
)

// ErrHeld is a lock that another holds, in this process or in another.
var ErrHeld = errors.New("held by another process")

// poll is how often is looked whether a lock is free.
const poll = 100 * time.Millisecond

// Take locks the file path, which is made with mode 0600 where it is not there and stays
// behind. It waits until another gives the lock back, and for patience at most: the error
// is [ErrHeld] then, the cause of ctx's end, or a [*fs.PathError].
func Take(ctx context.Context, path string, patience time.Duration) (unlock func(), err error) {
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|noFollow), flock.SetPermissions(0o600))
	for until := time.Now().Add(patience); ; {
		switch locked, err := lock.TryLock(); {
		case locked:
			return func() { _ = lock.Close() }, nil
		case err != nil:
			if _, ok := errors.AsType[*fs.PathError](err); !ok {
				err = &fs.PathError{Op: "lock", Path: path, Err: err}
			}
			return nil, err
		case !time.Now().Before(until):
			return nil, ErrHeld
		}
		if err := wait.Sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}
