package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
)

// Options are what a [Run] is made with. What is not said to be optional is required.
type Options struct {
	// Opener opens the Apps.
	Opener *apps.Opener
	// Entry says what is kept, and where.
	Entry config.Mirror
	// Observer is told what goes on. The zero value: nobody is.
	Observer Observer
	// Log is told of each step.
	Log *slog.Logger
}

// Run keeps the mirrors of one directory, by itself: it holds the lock. [Open] makes one, and
// Close ends it.
type Run struct {
	Options
	dir    string
	store  *Store
	state  *State
	unlock func()
	locked fs.FileInfo                     // the file of the lock
	made   []string                        // directories that were not there
	calls  *atomic.Int64                   // to the API, so far
	free   func(dir string) (int64, error) // of the disk, in bytes

	pending pending
	// records is held while a pass changes what is remembered of many, and read-held while one
	// mirror is brought up to date beside it.
	records sync.RWMutex
	claims  claims
	view    atomic.Pointer[view]
	origin  atomic.Pointer[string] // scheme and host of the repositories; nil: no pass has asked yet
	unfit   string                 // the patterns that were told of to fit nothing

	git  sync.Mutex
	asks *gitsession.Session // of git that is run by itself; nil: none was
	ends func()
}

// Open takes the directory, and reads what is remembered of it. Nothing is asked of GitHub for
// it. That another process has the directory is a [*BusyError].
func Open(ctx context.Context, o Options) (_ *Run, err error) {
	r := &Run{Options: o, dir: o.Entry.To, store: StoreOf(o.Entry.To), calls: &atomic.Int64{}, free: free}
	if HasBundles(r.dir) {
		return nil, &fault.UsageError{Err: fmt.Errorf("%s has bundles, and no mirrors", r.dir),
			Hint: "each has a directory of its own: give another one with --to"}
	}
	r.made = missing(filepath.Join(r.dir, own))
	if err := occupy(r.dir); err != nil {
		return nil, err
	}
	if r.unlock, r.locked, err = lock(ctx, r.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.unlock()
		}
	}()
	r.state, err = r.store.Read()
	if errors.Is(err, ErrState) {
		aside, failed := r.store.setAside(time.Now())
		if failed != nil {
			return nil, errors.Join(err, failed)
		}
		r.Log.Warn("what was remembered of the mirrors cannot be read; each is compared anew", "error", err, "aside", aside)
		r.state, err = r.store.Read()
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"incoming", "pruned"} { // of a process that was killed
		if err := os.RemoveAll(filepath.Join(r.dir, own, name)); err != nil {
			return nil, err
		}
	}
	r.pending = pending{store: r.store, host: func() string { return r.state.Host }, present: r.checkPresence}
	r.Opener = r.counted(o.Opener)
	r.see(nil)
	return r, nil
}

// counted is the Opener with requests to the API counted.
func (r *Run) counted(o *apps.Opener) *apps.Opener {
	return o.With(func(a *apps.Options) {
		before := a.Observe
		a.Observe = func(t http.RoundTripper) http.RoundTripper {
			if before != nil {
				t = before(t)
			}
			return counting{t, r.calls}
		}
	})
}

// Reconfigure has the next pass, and what else begins after this, go by other options. They are
// of the same directory. No pass may be under way.
func (r *Run) Reconfigure(o Options) {
	r.records.Lock()
	defer r.records.Unlock()
	r.endSession()
	o.Opener = r.counted(o.Opener)
	r.Options = o
	r.see(r.view.Load().reachable)
}

// Close gives the directory back, or takes it away where it was not there before and nothing has come of it.
// Nothing may be running any more.
func (r *Run) Close() {
	r.endSession()
	if r.checkPresence() != nil {
		r.unlock() // what is in the place is another's
		return
	}
	if r.blank() {
		_ = os.Remove(filepath.Join(r.dir, own, "lock"))
		for _, dir := range r.made {
			_ = os.Remove(dir) // unless something is in it
		}
	}
	r.unlock()
}

// missing are a directory and those above it that are not there, the lowest first.
func missing(dir string) (list []string) {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return list
		}
		list = append(list, dir)
	}
}

// endSession ends the socket of [Run.session], where there is one.
func (r *Run) endSession() {
	r.git.Lock()
	defer r.git.Unlock()
	if r.asks != nil {
		r.ends()
		_ = r.asks.Close()
		r.asks, r.ends = nil, nil
	}
}

// covers reports whether the options are about the repositories of an owner.
func (r *Run) covers(account string) bool { return among(r.Entry.Owners, account) }

// among reports whether an account is one of some owners; none are all.
func among(owners []string, account string) bool {
	return len(owners) == 0 ||
		slices.ContainsFunc(owners, func(owner string) bool { return strings.EqualFold(owner, account) })
}

// session is the socket on which git is answered that is run by itself.
func (r *Run) session(app *apps.App) (*gitsession.Session, error) {
	r.git.Lock()
	defer r.git.Unlock()
	if r.asks != nil {
		return r.asks, nil
	}
	s, err := gitsession.Listen(r.Opener)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	router := r.Opener.Router(app, readOnly(s))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(ctx, router, func() error { <-ctx.Done(); return nil })
	}()
	r.asks, r.ends = s, func() { cancel(); <-served }
	return s, nil
}
