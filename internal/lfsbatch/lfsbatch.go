// Package lfsbatch fetches large files of Git LFS: it asks the batch API for links, and follows those
// (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md,
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/basic-transfers.md).
//
// Nothing that comes is believed. A file has its name when all of it is on the disk, and its
// SHA-256 and its size are those that its pointer says. A token goes to the API alone: a link is
// followed with what the API says that it takes, and nothing of ours.
package lfsbatch

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

const (
	// batch is how many files are asked for at once, as by git-lfs.
	batch = 100
	// maxTries is how often a file is asked for that did not come for a cause that may pass.
	maxTries = 3
	// together is how many files of a repository are fetched at the same time.
	together = 4
)

// API is the batch API of a host.
type API interface {
	// LFSBatch asks one question about a repository, as [gitwire.Service.LFSBatch] does.
	LFSBatch(ctx context.Context, r ghapp.RepositoryName, asked []byte) (answer []byte, err error)
}

// Fetcher fetches files into a Store. What is not said to be optional is required.
type Fetcher struct {
	API API
	// Origin is that of the API. Where it is reached by TLS, so is everything that it links to.
	Origin string
	// Transport follows links.
	Transport http.RoundTripper
	// Store is where files go.
	Store *lfsstore.Store
	// Incoming is a directory for those that are not whole yet, on the file system of the Store,
	// which nobody else makes use of. It is emptied, and taken away.
	Incoming string
	// Room is how many bytes there is room for. Nil: nothing bounds them.
	Room func() int64
	// Stall ends a transfer in which nothing comes for so long, and one in which hardly anything does for
	// ten times that. Zero: a minute.
	Stall time.Duration
	// Pause lies before another try, and is doubled before the next. Zero: a second.
	Pause time.Duration
	// Received is told how many more bytes have come, from several goroutines. Nil: nobody is.
	Received func(more int64)
}

// Failed is a file that could not be had.
type Failed struct {
	lfsstore.Pointer
	Err error // one line, fit to be shown
}

// Result is what came of it.
type Result struct {
	Files    int   // that are in the Store now
	Bytes    int64 // that have come, for whatever good
	Requests int64
	Failed   []Failed
}

// RoomError is a file that there is no room for.
type RoomError struct {
	lfsstore.Pointer
	Room int64 // bytes
}

// Error is one line.
func (e *RoomError) Error() string {
	return fmt.Sprintf("there is no room for the large file %s of %d bytes", e.ID, e.Size)
}

// fetch is one in the doing.
type fetch struct {
	*Fetcher
	repository ghapp.RepositoryName
	bytes      atomic.Int64
	requests   atomic.Int64
	stalled    atomic.Int64 // transfers, since the last file that came

	mu     sync.Mutex
	result Result
}

// Fetch fetches files of a repository. Those that it does not have, and those that are others
// than they should be, stand in the result. The error is one that keeps from going on: the API's,
// a [*RoomError], the system's, or that of ctx. What was fetched by then stays.
func (f *Fetcher) Fetch(ctx context.Context, r ghapp.RepositoryName, want []lfsstore.Pointer) (Result, error) {
	g := &fetch{Fetcher: f, repository: r}
	if err := os.RemoveAll(f.Incoming); err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(f.Incoming) }()
	var err error
	for _, some := range parts(want) {
		if err = g.part(ctx, some); err != nil {
			break
		}
	}
	g.result.Bytes, g.result.Requests = g.bytes.Load(), g.requests.Load()
	return g.result, err
}

// parts are files that are asked for at once, none of which has the name of another: of two sizes
// of a file, one is wrong.
func parts(want []lfsstore.Pointer) [][]lfsstore.Pointer {
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b lfsstore.Pointer) int { return strings.Compare(a.ID, b.ID) })
	var list [][]lfsstore.Pointer
	begin := 0
	for i := range want {
		if i > begin && (i-begin == batch || want[i].ID == want[i-1].ID) {
			list = append(list, want[begin:i])
			begin = i
		}
	}
	if begin < len(want) {
		list = append(list, want[begin:])
	}
	return list
}

// part fetches at most a hundred files.
func (f *fetch) part(ctx context.Context, want []lfsstore.Pointer) error {
	pause := f.Pause
	if pause == 0 {
		pause = time.Second
	}
	for try := 1; ; try++ {
		again, err := f.once(ctx, want, try == maxTries)
		if err != nil || len(again) == 0 {
			return err
		}
		want = again
		if err := wait.Sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// once tries to fetch files, and returns those that may come at another try, but for the last.
func (f *fetch) once(ctx context.Context, want []lfsstore.Pointer, last bool) (again []lfsstore.Pointer, err error) {
	if err := os.MkdirAll(f.Incoming, 0o777); err != nil {
		return nil, err
	}
	links, err := f.ask(ctx, want)
	if err != nil {
		return nil, err
	}
	var came []lfsstore.Pointer
	fetching, within := errgroup.WithContext(ctx)
	fetching.SetLimit(together)
	for _, p := range want {
		fetching.Go(func() error {
			err := links.problem(p)
			if err == nil {
				err = f.download(within, p, links[p.ID].link)
			}
			failed, isTransfer := err.(*transferError) //nolint:errorlint // what wraps one is another's
			if err != nil && !isTransfer {
				return err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			switch {
			case err == nil:
				came = append(came, p)
			case failed.again && !last:
				again = append(again, p)
			default:
				f.result.Failed = append(f.result.Failed, Failed{p, failed.err})
			}
			return nil
		})
	}
	err = fetching.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if kept := f.keep(came); err == nil {
		err = kept
	}
	return again, err
}

// keep gives files their names, once they are on the disk.
func (f *fetch) keep(came []lfsstore.Pointer) error {
	if len(came) == 0 {
		return nil
	}
	if err := flush.Tree(f.Incoming); err != nil {
		return err
	}
	for _, p := range came {
		path := f.Store.Path(p.ID)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(f.Incoming, p.ID), path); err != nil {
			return err
		}
		f.result.Files++
	}
	return flush.Tree(f.Store.Dir)
}
