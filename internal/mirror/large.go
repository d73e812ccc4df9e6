package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/lfsbatch"
	"github.com/ghapp-dev/ghapp/internal/lfsconfig"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Large is how the large files of a mirror are, those of Git LFS.
type Large struct {
	ComparedAt time.Time `json:"compared_at,omitzero"` // with what refs need; zero: never
	Files      int       `json:"files,omitempty"`      // that refs need, what is kept among them
	Bytes      int64     `json:"bytes,omitempty"`      // of them
	Missing    int       `json:"missing,omitempty"`    // that could not be had
	// Failure is why the last try failed; nil: it did not.
	Failure *Failure `json:"failure,omitempty"`
}

// due reports whether large files have to be looked after, though their mirror need not be
// compared.
func (l *Large) due(patient bool, now time.Time) bool {
	return l.ComparedAt.IsZero() && l.Failure == nil || l.Failure != nil && !(patient && l.Failure.waits(now))
}

// IncompleteError is a mirror that lacks large files.
type IncompleteError struct {
	Failed []lfsbatch.Failed // at least one
	Of     int               // how many it is to have
	// Stores are other places that .lfsconfig names, and that are not asked, fit to be shown.
	Stores []string
}

// Error is one line.
func (e *IncompleteError) Error() string {
	first := e.Failed[0]
	line := fmt.Sprintf("%d of %d large files could not be had: %s (%d bytes): %s",
		len(e.Failed), e.Of, first.ID, first.Size, first.Err)
	if len(e.Stores) > 0 {
		line += "; .lfsconfig says that they are at " + strings.Join(e.Stores, ", ") + ", which is not asked"
	}
	return line
}

// large is the fetching of a mirror's large files.
type large struct {
	*transfers
	job        *job
	repository *barerepo.Repository
	from       ghapp.RepositoryName
	got        int64 // bytes, in this job, of packs
}

// large has the large files of a mirror be there that any of its refs needs. The mirror is as good as
// it was, where that fails.
func (t *transfers) large(ctx context.Context, j *job, path string, from ghapp.RepositoryName, c *Copy,
	got int64) error {
	began := time.Now().UTC()
	dir := filepath.Join(t.dir, path)
	l := &large{
		transfers: t, job: j, from: from, got: got,
		repository: &barerepo.Repository{Dir: dir, Git: t.git, Log: t.Log},
	}
	var result lfsbatch.Result
	need, err := l.need(ctx)
	if err == nil {
		result, err = l.renew(ctx, need)
	}
	if result.Files > 0 {
		c.Bytes = sizeOf(dir)
	}
	t.mu.Lock()
	t.report.Large += result.Files
	t.report.Bytes += result.Bytes
	t.report.Requests += result.Requests
	t.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	was := c.Large.Failure
	c.Large = Large{ComparedAt: began, Files: len(need)}
	for p := range need {
		c.Large.Bytes += p.Size
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*IncompleteError](err); ok {
		c.Large.Missing = len(e.Failed)
	}
	err = diag.During(diag.Mirroring, t.dir, explained(err))
	c.Large.Failure = t.failure(was, err)
	return err
}

// explained is an error of large files with what to do about it.
func explained(err error) error {
	const good = "what git has of the mirror is up to date"
	if _, ok := errors.AsType[*IncompleteError](err); ok {
		return &fault.ExitError{Code: fault.Failed, Err: err, Hint: good + "; `git lfs push --all` from a clone that " +
			"has them brings them to GitHub, and they are asked for again later"}
	}
	if _, ok := errors.AsType[*lfsbatch.RoomError](err); ok {
		return &fault.ExitError{Code: fault.Failed, Err: err,
			Hint: good + "; make room on the disk, or leave less of it free (--min-free)"}
	}
	return err
}

// need are the files that refs need. Git is asked about new commits alone.
func (l *large) need(ctx context.Context) (map[lfsstore.Pointer]bool, error) {
	tips, err := l.repository.Tips(ctx)
	if err != nil {
		return nil, err
	}
	known := readNeeded(l.repository.Dir)
	fresh := known.fresh(tips)
	if known != nil && len(fresh) == 0 {
		return known.files, nil
	}
	if known != nil {
		for _, tip := range known.tips {
			fresh = append(fresh, "^"+tip)
		}
		if err = l.read(ctx, known, fresh); err != nil && ctx.Err() == nil {
			known = nil // what was known then is not there any more
		}
	}
	if known == nil {
		known = &needed{files: map[lfsstore.Pointer]bool{}}
		err = l.read(ctx, known, tips)
	}
	if err != nil {
		return nil, err
	}
	known.tips = tips
	return known.files, known.write(l.repository.Dir)
}

// read adds the files that commits need.
func (l *large) read(ctx context.Context, n *needed, commits []string) error {
	l.mu.Lock()
	l.report.Processes += processesOfScan
	l.mu.Unlock()
	return scan(ctx, l.repository, n.files, commits)
}

// processesOfScan is how many there are of git in [scan].
const processesOfScan = 2

// scan finds pointers by git's own walk.
func scan(ctx context.Context, r *barerepo.Repository, into map[lfsstore.Pointer]bool, commits []string) error {
	return r.SmallBlobs(ctx, commits, lfsstore.MostPointer, func(text []byte) error {
		if p, ok := lfsstore.ParsePointer(text); ok {
			into[p] = true
		}
		return nil
	})
}

// renew fetches those that are not there, and those that were found damaged.
func (l *large) renew(ctx context.Context, need map[lfsstore.Pointer]bool) (result lfsbatch.Result, err error) {
	id := identity(l.job.record.ID)
	if l.from.Wiki {
		id = wikiIdentity(l.job.record.ID)
	}
	store := lfsstore.Of(l.repository.Dir)
	seen := seenMark(l.dir, id, largeMark)
	marked := markedLarge(seen)
	for _, one := range marked {
		if err := store.SetAside(one); err != nil {
			return result, err
		}
	}
	result, err = l.fetch(ctx, need)
	for _, one := range marked {
		if _, lacks := os.Lstat(store.Path(one)); lacks == nil {
			_ = os.Remove(store.Bad(one))
		}
	}
	if len(marked) > 0 && ctx.Err() == nil { // what has failed is remembered, and tried again
		err = errors.Join(err, endMark(l.dir, id, largeMark, seen))
	}
	return result, err
}

// fetch fetches those that are not there.
func (l *large) fetch(ctx context.Context, need map[lfsstore.Pointer]bool) (lfsbatch.Result, error) {
	store := lfsstore.Of(l.repository.Dir)
	missing, err := lacking(store, need)
	if err == nil && len(missing) == 0 { // one that was killed when all had come has left it
		err = os.RemoveAll(l.incoming())
	}
	if err != nil || len(missing) == 0 {
		return lfsbatch.Result{}, err
	}
	result, err := l.ask(ctx, l.from, store, missing)
	if err != nil || len(result.Failed) == 0 {
		return result, err
	}
	stores, others := l.stores(ctx)
	for _, other := range stores {
		again := result.Failed
		want := make([]lfsstore.Pointer, len(again))
		for i, f := range again {
			want[i] = f.Pointer
		}
		more, err := l.ask(ctx, other, store, want)
		result.Files += more.Files
		result.Bytes += more.Bytes
		result.Requests += more.Requests
		if err != nil {
			return result, err
		}
		if result.Failed = more.Failed; len(more.Failed) == 0 {
			return result, nil
		}
	}
	return result, &IncompleteError{Failed: result.Failed, Of: len(need), Stores: others}
}

// lacking are the files that a store does not have, by a walk through it. Files of no bytes, which
// nobody needs to be asked for, it has then.
func lacking(store *lfsstore.Store, need map[lfsstore.Pointer]bool) ([]lfsstore.Pointer, error) {
	if len(need) == 0 {
		return nil, nil
	}
	there, err := store.List()
	if err != nil {
		return nil, err
	}
	has := make(map[lfsstore.Pointer]bool, len(there))
	for _, p := range there {
		has[p] = true
	}
	var list []lfsstore.Pointer
	for p := range need {
		if has[p] || p.Size == 0 && store.Put(p.ID, bytes.NewReader(nil)) == nil {
			continue
		}
		list = append(list, p)
	}
	return list, nil
}

// uncountedKey is in the context of requests that are none to GitHub's API for us.
type uncountedKey struct{}

// incoming is where files are that are not whole yet.
func (l *large) incoming() string { return filepath.Join(l.repository.Dir, "lfs", "incoming-ghapp") }

// ask fetches files of a repository, and waits where GitHub wants to be asked less.
func (l *large) ask(ctx context.Context, from ghapp.RepositoryName, store *lfsstore.Store, want []lfsstore.Pointer) (
	all lfsbatch.Result, err error) {
	service := l.services[l.job.site].service
	fetcher := &lfsbatch.Fetcher{
		API: service, Origin: service.Origin, Transport: l.job.site.session.Transport, Store: store,
		Incoming: l.incoming(),
		Received: l.receiver(),
	}
	if l.Entry.MinFree > 0 {
		fetcher.Room = func() int64 {
			left, err := free(l.dir)
			if err != nil {
				return 1 << 62
			}
			return left - l.Entry.MinFree
		}
	}
	ctx = context.WithValue(ctx, uncountedKey{}, true)
	for tries := 1; ; tries++ {
		if err := l.job.site.gate.pass(ctx); err != nil {
			return all, err
		}
		result, err := fetcher.Fetch(ctx, from, want)
		all.Files, all.Bytes, all.Requests = all.Files+result.Files, all.Bytes+result.Bytes, all.Requests+result.Requests
		all.Failed = result.Failed
		if err == nil || tries == mostTries || !l.job.site.gate.close(err) {
			return all, err
		}
		need := map[lfsstore.Pointer]bool{}
		for _, p := range want {
			need[p] = true
		}
		if want, err = lacking(store, need); err != nil {
			return all, err
		}
	}
}

// receiver has the observer told what comes.
func (l *large) receiver() func(more int64) {
	return func(more int64) {
		l.mu.Lock()
		l.got += more
		sum := l.got
		l.mu.Unlock()
		l.Observer.received(l.job.record.Name, sum)
	}
}

// mostStores bounds the other places that are asked for large files, and that are told of.
const mostStores = 2

// stores are where .lfsconfig says that large files are: repositories of the same owner on the
// same host, which a token of the same installation may be for, and the names of other places.
// Nobody but whoever may push has written it: nothing else of ours goes by it.
func (l *large) stores(ctx context.Context) (own []ghapp.RepositoryName, others []string) {
	values, err := l.repository.Variables(ctx, lfsconfig.Name, `^(lfs\.url|remote\..*\.lfsurl)$`)
	if err != nil {
		l.Log.Debug(".lfsconfig could not be read", "repository", l.from.String(), "error", err)
	}
	for _, value := range values[:min(len(values), mostStores)] {
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			others = append(others, text.Shorten(text.OneLine(fmt.Sprintf("%q", value)), 100))
			continue
		}
		path := strings.TrimSuffix(strings.Trim(u.Path, "/"), "/info/lfs")
		name, err := ghapp.ParseRepository(strings.TrimSuffix(path, ".git"))
		if err != nil || u.User != nil || u.Scheme+"://"+u.Host != l.services[l.job.site].service.Origin ||
			!strings.EqualFold(name.Owner, l.from.Owner) {
			others = append(others, text.Shorten(text.OneLine(u.Host+u.Path), 100))
			continue
		}
		if name.Host = l.from.Host; !strings.EqualFold(name.Name, l.from.Name) {
			own = append(own, name)
		}
	}
	return own, others
}

// pruneLarge takes large files away that kept history was the last to need: those that were known to
// be needed, and are not by any ref there is, by git's own walk of all.
func pruneLarge(ctx context.Context, r *barerepo.Repository) error {
	known := readNeeded(r.Dir)
	if known == nil {
		return nil
	}
	tips, err := r.Tips(ctx)
	if err != nil {
		return err
	}
	now := &needed{tips: tips, files: map[lfsstore.Pointer]bool{}}
	if err := scan(ctx, r, now.files, tips); err != nil {
		return err
	}
	if err := now.write(r.Dir); err != nil {
		return err
	}
	stays := map[string]bool{}
	for p := range now.files {
		stays[p.ID] = true
	}
	store := lfsstore.Of(r.Dir)
	for p := range known.files {
		if stays[p.ID] {
			continue
		}
		if err := os.Remove(store.Path(p.ID)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
