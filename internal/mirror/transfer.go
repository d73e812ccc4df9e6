package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mostTries is how often a transfer is tried that met a limit.
const mostTries = 4

// transfers are those of a pass.
type transfers struct {
	*pass
	git      gitcmd.Runner
	services map[*site]*remote
	full     atomic.Pointer[fault.ExitError] // why no other may begin
}

// transfer does all jobs, several at once. The error is that of writing down what was done.
func (p *pass) transfer(ctx context.Context, sites map[int64]*site, jobs []*job) error {
	p.Observer.planned(len(jobs))
	names := map[*site][]string{}
	for _, j := range jobs {
		names[j.site] = append(names[j.site], j.record.Name)
	}
	t := p.transfers()
	for _, s := range sites {
		s.tokens = newTokens(names[s], s.reads)
		t.services[s] = &remote{run: p.Run, site: s, service: s.service(p)}
	}
	var doing errgroup.Group
	doing.SetLimit(max(1, p.Entry.Jobs))
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		doing.Go(func() error { return t.do(ctx, j) })
	}
	err := doing.Wait()
	if full := t.full.Load(); full != nil {
		p.report.Stopped = full
	}
	return err
}

func (p *pass) transfers() *transfers {
	return &transfers{
		pass: p, services: map[*site]*remote{},
		git: gitcmd.Runner{Environ: p.Opener.Environ, Own: p.Opener.Own()},
	}
}

// do does one job, when no other is about the same mirror.
func (t *transfers) do(ctx context.Context, j *job) error {
	if ctx.Err() != nil || t.full.Load() != nil {
		return nil
	}
	r := j.record
	release, err := t.claims.claim(ctx, r.ID)
	if err != nil {
		return nil //nolint:nilerr // it was stopped, which is no failure
	}
	defer release()
	began := time.Now()
	size := r.SizeKB
	if r.Path != "" {
		size = 0
	}
	if gone := t.checkPresence(); gone != nil {
		t.full.CompareAndSwap(nil, gone)
		return nil
	}
	if full := t.checkDisk(); full != nil {
		t.full.CompareAndSwap(nil, full)
		return nil
	}
	t.Observer.began(r.Name, size)
	out := Outcome{}
	var errs [2]error
	if tooLarge := t.checkRoom(r.Name, size<<10); tooLarge != nil {
		errs[0] = tooLarge
		r.Code.Failure = t.failure(r.Code.Failure, tooLarge)
	} else if j.code {
		out.Result, errs[0] = t.code(ctx, j)
	}
	if j.wiki && r.Path != "" {
		out.Wiki, errs[1] = t.wiki(ctx, j)
	}
	large := t.larges(ctx, j, out, errs)
	if j.code && errs[0] == nil {
		r.Code.Stat = t.stat(r.Path)
	}
	if j.wiki && r.Path != "" && errs[1] == nil && !r.Wiki.Absent {
		r.Wiki.Stat = t.stat(wikiOf(r.Path))
	}
	if ctx.Err() != nil {
		return nil // it was stopped, which is no failure
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		again := r.Code.Failure
		if i == 1 {
			again = r.Wiki.Failure
		}
		t.fail(Failed{Repository: r.Name, Account: j.site.info.Account, Wiki: i == 1, Err: err, Again: again.Again})
	}
	out.Record, out.Err, out.Took = *r, errors.Join(errors.Join(errs[:]...), large), time.Since(began)
	t.add(out)
	t.Observer.ended(out)
	return t.done(r)
}

// larges has large files be there where git has done its part, and tells of what fails.
func (t *transfers) larges(ctx context.Context, j *job, out Outcome, errs [2]error) error {
	r := j.record
	if !t.Entry.LFS {
		r.Code.Large, r.Wiki.Large = Large{}, Large{} // nobody looks after them any more
		return nil
	}
	var all []error
	one := func(wiki bool, path string, c *Copy, got int64) {
		from := r.repository(t.state.Host)
		from.Wiki = wiki
		if err := t.large(ctx, j, path, from, c, got); err != nil {
			all = append(all, err)
			t.fail(Failed{
				Repository: r.Name, Account: j.site.info.Account, Wiki: wiki, LFS: true, Err: err, Again: c.Large.Failure.Again,
			})
		}
	}
	if j.code && errs[0] == nil && ctx.Err() == nil {
		one(false, r.Path, &r.Code, out.Result.Bytes)
	}
	if j.wiki && r.Path != "" && errs[1] == nil && !r.Wiki.Absent && ctx.Err() == nil {
		one(true, wikiOf(r.Path), &r.Wiki, out.Result.Bytes+out.Wiki.Bytes)
	}
	return errors.Join(all...)
}

// code brings the mirror of the code up to date.
func (t *transfers) code(ctx context.Context, j *job) (barerepo.Result, error) {
	r := j.record
	began := time.Now().UTC()
	path := r.Path
	if path == "" {
		path = r.wanted()
	}
	pushed, branch := r.PushedAt, r.DefaultBranch
	result, err := t.update(ctx, j, path, r.repository(t.state.Host), identity(r.ID), branch, r.Code.Stat)
	if err != nil {
		t.lose(j, &r.Code, path, t.lost(ctx, &r.Code, result, path))
		if ctx.Err() == nil {
			r.Code.Failure = t.failure(r.Code.Failure, err)
		}
		return result, err
	}
	r.Path = path
	t.brought(ctx, j, &r.Code, result, path, began)
	r.PushedThen, r.BranchThen = pushed, branch
	if began.Add(j.site.session.App.Status().ClockOffset).Before(pushed.Add(settled)) {
		r.PushedThen = time.Time{} // another push in the same second would not be told from it
	}
	return result, nil
}

// wiki brings the mirror of the wiki up to date. GitHub has none where nobody has written a page.
func (t *transfers) wiki(ctx context.Context, j *job) (barerepo.Result, error) {
	r := j.record
	began := time.Now().UTC()
	name := r.repository(t.state.Host)
	name.Wiki = true
	result, err := t.update(ctx, j, wikiOf(r.Path), name, wikiIdentity(r.ID), "", r.Wiki.Stat)
	if absent(err) {
		r.Wiki.Absent, r.Wiki.ComparedAt, r.Wiki.Failure = true, began, nil
		return result, nil
	}
	if err != nil {
		t.lose(j, &r.Wiki, wikiOf(r.Path), t.lost(ctx, &r.Wiki, result, wikiOf(r.Path)))
		if ctx.Err() == nil {
			r.Wiki.Failure = t.failure(r.Wiki.Failure, err)
		}
		return result, err
	}
	r.Wiki.Absent = false
	t.brought(ctx, j, &r.Wiki, result, wikiOf(r.Path), began)
	return result, nil
}

// absent reports whether the git service says that there is no such repository.
func absent(err error) bool {
	if e, ok := errors.AsType[*gitcmd.Error](err); ok {
		return e.Reason == gitcmd.RepositoryNotFound
	}
	e, ok := errors.AsType[*ghapp.Error](err)
	return ok && e.Status == 404
}

// note remembers what an update has done.
func (t *transfers) note(c *Copy, result barerepo.Result, path string, began time.Time) {
	c.ComparedAt, c.Failure = began, nil
	if result.First {
		c.remember(barerepo.Remembered{})
	}
	if result.Kept > 0 && c.Kept == 0 {
		c.KeptSince = began
	}
	c.Kept += result.Kept
	if result.Last != nil {
		c.Last = result.Last
	}
	if result.Changed || c.Bytes == 0 { // or nothing was remembered of it
		c.Bytes = sizeOf(filepath.Join(t.dir, path))
	}
	if !result.Changed {
		return
	}
	c.ChangedAt = began
	for _, s := range result.Skipped {
		t.Log.Warn("a ref is not mirrored", "mirror", path, "ref", fmt.Sprintf("%q", s.Ref), "why", s.Why)
	}
	if result.Aside != "" && len(result.Lost)+len(result.Unread) == 0 {
		t.Log.Warn("the repository has another object format now; the mirror before was put aside",
			"mirror", path, "aside", result.Aside)
	}
}

// brought takes care of a copy that was brought up to date.
func (t *transfers) brought(
	ctx context.Context, j *job, c *Copy, result barerepo.Result, path string, began time.Time,
) {
	adopted := c.ComparedAt.IsZero() && !result.First
	t.note(c, result, path, began)
	lost := t.lost(ctx, c, result, path)
	t.upkeep(ctx, c, result, path, adopted || t.forgo(ctx, c, path, identityOf(j.record.ID, c == &j.record.Wiki)))
	t.lose(j, c, path, lost)
}

// lost says what a mirror has lost that was made anew; empty: nothing is known to be lost.
func (t *transfers) lost(ctx context.Context, c *Copy, result barerepo.Result, path string) string {
	const most = 3
	what := ""
	switch r := (&barerepo.Repository{Dir: filepath.Join(t.dir, path), Git: t.git, Log: t.Log}); {
	case len(result.Lost) > 0:
		what = text.OneLine(strings.Join(result.Lost[:min(len(result.Lost), most)], ", "))
		if more := len(result.Lost) - most; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
	case len(result.Unread) > 0 && errors.Is(r.CheckHistory(ctx, c.remembered()), barerepo.ErrHistoryLost):
		what = text.OneLine(strings.Join(result.Unread, ", "))
	default:
		return ""
	}
	return what + " could not be read; the damaged mirror was put aside, to " + result.Aside
}

// lose remembers what was lost until a full run goes on without it, and tells of it once: what is there is up to
// date all the same.
func (t *transfers) lose(j *job, c *Copy, path, what string) {
	if what == "" {
		return
	}
	c.Lost = &Lost{At: time.Now().UTC().Truncate(time.Second), What: what}
	t.fail(Failed{
		Repository: j.record.Name, Account: j.site.info.Account, Wiki: c == &j.record.Wiki,
		Err: c.Lost.failure(filepath.Join(t.dir, path)),
	})
}

// update brings one git repository up to date, and waits where GitHub wants to be asked less.
func (t *transfers) update(ctx context.Context, j *job, path string, from ghapp.RepositoryName, id, head string,
	before barerepo.Stat) (result barerepo.Result, err error) {
	if err := checkLinks(t.dir, path); err != nil {
		return result, err
	}
	dir := filepath.Join(t.dir, path)
	repository := &barerepo.Repository{
		Dir: dir, Temp: filepath.Join(t.dir, own, "incoming", filepath.FromSlash(id)+".git"), Git: t.git, Log: t.Log,
	}
	if err := checkIdentity(repository, id, before); err != nil {
		return result, err
	}
	// By GitHub's clock: what is in the journal by a wrong one of this machine's is found by nobody later.
	now := time.Now().Add(j.site.session.App.Status().ClockOffset)
	o := barerepo.Options{Identity: id, Head: head, Now: now}
	if t.Entry.PullRequests && !from.Wiki {
		o.Prefixes, o.Fleeting = []string{"refs/pull/"}, isTestMerge
	}
	source := *t.services[j.site]
	source.repository = from
	source.bounds = &bounds{
		dir: t.dir, name: from.String(), size: j.record.SizeKB << 10, minFree: t.Entry.MinFree, free: t.free,
	}
	o.MaxBytes = source.bounds.most()
	source.received = func(bytes int64) { t.Observer.received(j.record.Name, bytes) }
	for tries := 1; ; tries++ {
		if err := j.site.gate.pass(ctx); err != nil {
			return result, err
		}
		result, err = t.bring(ctx, repository, &source, o, before)
		if err == nil || tries == mostTries || !j.site.gate.close(err) {
			return result, diag.During(diag.Mirroring, t.dir, unsafe(err))
		}
		t.Log.Warn("GitHub wants to be asked less: the transfers of this installation wait",
			"account", j.site.info.Account, "repository", from.String(), "error", err)
	}
}

// isTestMerge reports whether a ref is what GitHub would merge of a pull request, which it makes anew at
// every push to either branch
// (https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request): nobody has written it.
func isTestMerge(ref string) bool {
	return strings.HasPrefix(ref, "refs/pull/") && strings.HasSuffix(ref, "/merge")
}

// checkIdentity refuses what is in the place of a mirror and is not that of this repository. A
// configuration that says nothing any more is damaged where other files are still what they were when the mirror
// was last brought up to date, and then the mirror is mended.
func checkIdentity(r *barerepo.Repository, id string, before barerepo.Stat) error {
	list, err := os.ReadDir(r.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return nil
	}
	got, unread := r.Identity()
	if unread == nil && got == id || got == "" && r.Stat().Akin(before) {
		return nil
	}
	return foreign(r.Dir, id, cmp.Or(err, unread))
}

// checkRoom is an error where a repository that is fetched for the first time, and that has so many bytes, would
// leave too little of the disk. There may be room for others.
func (t *transfers) checkRoom(name string, size int64) error {
	left, err := t.free(t.dir)
	if err != nil || size == 0 || left-size >= t.Entry.MinFree {
		return nil //nolint:nilerr // what cannot be known is no reason to fail
	}
	return &fault.ExitError{Code: fault.Failed,
		Err: fmt.Errorf("%s does not fit on the disk: it has %s, as GitHub says, %s are free, and %s are "+
			"to stay so (--min-free)", name, text.Size(size), text.Size(left), text.Size(t.Entry.MinFree)),
		Hint: "nothing of it was fetched, and others go on; make room in " + t.dir + ", or leave it out with --exclude"}
}

// checkDisk is an error where there is too little left of the disk for anything.
func (t *transfers) checkDisk() *fault.ExitError {
	left, err := t.free(t.dir)
	if err != nil || left >= t.Entry.MinFree {
		return nil
	}
	return &fault.ExitError{Code: fault.Failed,
		Err: fmt.Errorf("the disk is nearly full: %s are free, and %s are to stay so (--min-free)",
			text.Size(left), text.Size(t.Entry.MinFree)),
		Hint: "what is mirrored is whole; make room in " + t.dir + ", and run it again"}
}

// sizeOf is that of all files of a repository, in bytes.
func sizeOf(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil // what goes away meanwhile does not count
	})
	return sum
}

// add counts what a job has done.
func (t *transfers) add(out Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Compared++
	changed := false
	for _, r := range []barerepo.Result{out.Result, out.Wiki} {
		t.report.Bytes += r.Bytes
		t.report.Requests += r.Requests
		t.report.Processes += r.Processes
		t.report.Forced += r.Forced
		t.report.Deleted += r.Deleted
		changed = changed || r.Changed
	}
	switch {
	case out.Result.First:
		t.report.Made++
	case changed:
		t.report.Changed++
	}
}
