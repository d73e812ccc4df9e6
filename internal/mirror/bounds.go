package mirror

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/text"
)

const (
	// unknownSize is what a transfer may bring whatever GitHub tells of the repository's size, which is not exact, old at
	// times, and without what a fork shares. GitHub wants no repository to be larger
	// (https://docs.github.com/en/repositories/creating-and-managing-repositories/repository-limits).
	unknownSize = 10 << 30
	// timesSize is how many times its size it may bring besides.
	timesSize = 4
	// expectedSlack is how much more than GitHub tells is no surprise.
	expectedSlack = 64 << 20
	// looks lies between two looks at the disk.
	looks = 250 * time.Millisecond
)

// bounds end a transfer that has no end, or that fills the disk. They are those of one.
type bounds struct {
	dir     string                          // of all mirrors
	name    string                          // owner/name
	size    int64                           // of the repository in bytes, as GitHub tells it
	minFree int64                           // of the disk, in bytes
	free    func(dir string) (int64, error) // how much of it is
	looked  time.Time
}

// most is how many bytes a pack may have.
func (b *bounds) most() int64 { return unknownSize + timesSize*b.size }

// check is an error where the disk gets full by what has come so far. Who has brought more than was to be expected is
// the first to end, so that one endless repository stops none beside it.
func (b *bounds) check(received int64) error {
	if time.Since(b.looked) < looks {
		return nil
	}
	b.looked = time.Now()
	leave := b.minFree
	if received <= b.size+expectedSlack {
		leave /= 2
	}
	left, err := b.free(b.dir)
	if err != nil || left >= leave {
		return nil //nolint:nilerr // what cannot be known is no reason to end
	}
	return &fault.ExitError{Code: fault.Failed,
		Err: fmt.Errorf("the disk gets full: %s of %s have come, %s are free, and %s are to stay so (--min-free)",
			text.Size(received), b.name, text.Size(left), text.Size(b.minFree)),
		Hint: "the mirror is as it was; make room in " + b.dir + ", or leave the repository out with --exclude"}
}

// tooLarge is an error where more has come than a pack may have.
func (b *bounds) tooLarge(received int64) error {
	if received <= b.most() {
		return nil
	}
	return &gitwire.TooLargeError{Op: "fetch from " + b.name, What: "bytes of a pack", Limit: b.most()}
}

// watch holds what git writes into a repository against the bounds, while do runs.
func (b *bounds) watch(ctx context.Context, repository string, do func(context.Context) error) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(looks)
		defer ticks.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-ticks.C:
			}
			received := sizeOf(filepath.Join(repository, "objects"))
			if err := b.tooLarge(received); err != nil {
				cancel(err)
			}
			if err := b.check(received); err != nil {
				cancel(err)
			}
		}
	}()
	err := do(watched)
	why := context.Cause(watched)
	cancel(nil)
	<-ended
	if err != nil && ctx.Err() == nil && why != nil {
		return why
	}
	return err
}
