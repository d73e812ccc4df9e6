package mirror

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// Request is what a pass is to do. The zero value compares what seems to have changed, and what
// is due.
type Request struct {
	// Full compares every mirror ref by ref.
	Full bool
	// Patient leaves what failed alone until its next try. Else it is tried now.
	Patient bool
}

// pass is one in the doing.
type pass struct {
	*Run
	Request
	now    time.Time
	seen   map[int64]bool // what was listed
	report *Report
	owners []Failed // those that no installation is known of
	// allListed says that every installation is known.
	allListed bool

	mu sync.Mutex // of report
}

// Pass brings the mirrors up to date, once. What failed of single mirrors or installations
// stands in the report. The error is that nothing could be done, or that of ctx; the report
// comes with it all the same.
func (r *Run) Pass(ctx context.Context, want Request) (*Report, error) {
	p := r.newPass(want)
	calls := r.calls.Load()
	if gone := r.checkPresence(); gone != nil {
		return p.report, gone
	}
	err := p.do(ctx)
	p.report.Calls = r.calls.Load() - calls
	p.report.Took = time.Since(p.now)
	if gone := r.checkPresence(); gone != nil {
		return p.report, gone // which is why all the rest failed
	}
	if err != nil && r.blank() {
		return p.report, err // Close takes the directory away again
	}
	if ctx.Err() == nil {
		p.remember(err)
	}
	return p.report, errors.Join(err, p.pending.write(0))
}

// blank reports whether the directory was not one of mirrors before, and nothing has come of it yet.
func (r *Run) blank() bool {
	_, err := os.Lstat(r.store.Path)
	return len(r.made) > 0 && errors.Is(err, fs.ErrNotExist)
}

// remember remembers how the pass ended.
func (p *pass) remember(err error) {
	was := p.state.LastPass
	now := &LastPass{BeganAt: p.now.Truncate(time.Second), Seconds: p.report.Took.Seconds(),
		Outcome: p.report.outcome(err), Failed: len(p.report.Failed)}
	if err = cmp.Or(err, p.report.Stopped, p.report.None); err != nil {
		var before *Failure
		if was != nil {
			before = was.Failure
		}
		now.Failure = p.failure(before, err)
		now.Failure.Again = time.Time{} // which the schedule of a watch has
	}
	for _, f := range p.owners {
		failure := p.failure(was.owner(f.Account), f.Err)
		failure.Again = time.Time{} // each pass tries
		now.Owners = append(now.Owners, FailedOwner{f.Account, failure})
	}
	p.state.LastPass = now
	p.pending.putPass(now)
}

func (r *Run) newPass(want Request) *pass {
	now := time.Now().UTC()
	return &pass{Run: r, Request: want, now: now, seen: map[int64]bool{}, report: &Report{Began: now}}
}

func (p *pass) do(ctx context.Context) error {
	sites, err := p.installations(ctx)
	if err != nil {
		return err
	}
	if err := p.list(ctx, sites); err != nil {
		return err
	}
	jobs, err := p.settle(sites)
	if err != nil {
		return err
	}
	err = p.transfer(ctx, sites, jobs)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	for _, s := range sites {
		if s.complete {
			p.missing(ctx, s)
		}
	}
	p.lost(sites)
	p.examine(ctx)
	if p.Entry.Prune {
		p.prune(ctx, sites)
	}
	p.count()
	return context.Cause(ctx)
}

// list lists what every installation reaches. The error is that of ctx.
func (p *pass) list(ctx context.Context, sites map[int64]*site) error {
	var listing errgroup.Group
	listing.SetLimit(4)
	for _, s := range sites {
		if !s.info.SuspendedAt.IsZero() {
			continue
		}
		known := p.known(s.info.ID) // before any of them changes it
		listing.Go(func() error {
			s.found, s.err = s.asker.Look(s.budget.within(ctx), known, p.wholeDue(s.info.ID))
			return nil
		})
	}
	_ = listing.Wait()
	return context.Cause(ctx)
}

// settle has what is remembered, and where the mirrors are, be as was listed, and returns what is
// to be compared. No mirror is brought up to date by [Run.Update] meanwhile.
func (p *pass) settle(sites map[int64]*site) ([]*job, error) {
	p.records.Lock()
	defer p.records.Unlock()
	if err := p.listed(sites); err != nil {
		return nil, err
	}
	if err := p.arrange(); err != nil {
		return nil, err
	}
	jobs := p.plan(sites)
	p.checkFit(sites)
	p.see(p.reachable(sites))
	return jobs, nil
}

// listed takes what was listed. The error is the first, where no installation could be.
func (p *pass) listed(sites map[int64]*site) error {
	var first error
	failed, suspended := 0, 0
	for _, id := range slices.Sorted(maps.Keys(sites)) {
		s := sites[id]
		if !s.info.SuspendedAt.IsZero() {
			suspended++
		}
		if s.err != nil {
			failed++
			first = cmp.Or(first, s.err)
			p.fail(Failed{Account: s.info.Account, Err: s.err})
		}
		if s.found != nil {
			p.take(s)
		}
		p.note(s)
	}
	if first != nil && failed == len(sites)-suspended { // nothing can be done
		p.report.Failed = nil
		return first
	}
	return nil
}

// take takes what was listed.
func (p *pass) take(s *site) {
	s.complete, s.listed = s.found.Complete && s.err == nil, len(s.found.Repositories)
	for _, found := range s.found.Repositories {
		p.seen[found.ID] = true
		r := p.state.Repositories[found.ID]
		if r == nil {
			r = &Record{}
			p.state.Repositories[found.ID] = r
		}
		if r.take(found, s.info.ID, p.now) {
			p.dirty(r)
		}
		s.named[strings.ToLower(r.Name)] = r.NamedAt
	}
	s.found.Repositories = nil // the records have it
}

// note remembers how the listing of an installation ended.
func (p *pass) note(s *site) {
	was := p.state.Installations[s.info.ID]
	i := &Installation{ID: s.info.ID, Account: s.info.Account}
	if was != nil {
		i.ListedAt, i.WholeAt, i.Failure = was.ListedAt, was.WholeAt, was.Failure
	}
	if s.complete {
		i.ListedAt, i.Failure = p.now, nil
		if s.found.Whole {
			i.WholeAt = p.now
		}
	}
	if s.err != nil {
		i.Failure = p.failure(i.Failure, s.err)
	}
	p.state.Installations[i.ID] = i
	p.pending.putInstallation(i)
}

// known are the repositories of an installation as they were listed before.
func (p *pass) known(installation int64) (list []known) {
	for _, r := range p.state.Repositories {
		if r.Installation == installation && r.Gone == nil {
			list = append(list, r.known(p.state.Host))
		}
	}
	return list
}

// wholeDue reports whether an installation has to be listed anew.
func (p *pass) wholeDue(installation int64) bool {
	was := p.state.Installations[installation]
	every := p.Entry.FullEvery
	return p.Full || was == nil || was.WholeAt.IsZero() ||
		slot(installation, every, p.now) != slot(installation, every, was.WholeAt)
}

// arrange has every mirror be where its repository's name wants it.
func (p *pass) arrange() error {
	moved := map[int64]bool{}
	places := &places{
		dir: p.dir, records: p.state.Repositories, seen: p.seen,
		moved: func(r *Record, from string) {
			p.dirty(r)
			if from != "" {
				moved[r.ID] = true
				p.Log.Info("a mirror was moved", "repository", r.Name, "from", from, "to", r.Path)
			}
		},
		lost: func(r *Record) {
			if p.seen[r.ID] {
				p.Log.Warn("a mirror is not there any more, and is made anew", "repository", r.Name)
			} else {
				p.lose(r, errNotThere())
			}
			p.dirty(r)
		},
		copied: func(path, other string) {
			p.Log.Warn("two directories are mirrors of one repository; one is kept up to date, and the other is left alone",
				"mirror", filepath.Join(p.dir, path), "left", filepath.Join(p.dir, other))
		},
	}
	if err := places.find(); err != nil {
		return err
	}
	for _, r := range places.strangers() {
		owner, _, _ := strings.Cut(r.Name, "/")
		for _, i := range p.state.Installations {
			if strings.EqualFold(i.Account, owner) {
				r.Installation = i.ID
			}
		}
		r.Gone = &Gone{Reason: Unlisted, Since: p.now}
		p.state.Repositories[r.ID], places.at[r.Path] = r, r
		p.dirty(r)
	}
	errs := places.arrange()
	p.report.Moved = len(moved)
	for id, err := range errs {
		r := p.state.Repositories[id]
		if p.left(&p.Entry, r) {
			continue // and nothing is to be there
		}
		r.Code.Failure = p.failure(r.Code.Failure, err)
		p.dirty(r)
		p.fail(Failed{Repository: r.Name, Err: err})
	}
	return nil
}

// job is the comparison of one mirror.
type job struct {
	site       *site
	record     *Record
	code, wiki bool
	urgent     int // the less the sooner
}

// plan is what has to be compared, and in which order: what was pushed to, what is new, and what
// is due.
func (p *pass) plan(sites map[int64]*site) []*job {
	failed := map[string]bool{}
	for _, f := range p.report.Failed {
		failed[f.Repository] = true
	}
	code, wikis := damaged(p.dir)
	var jobs []*job
	for _, r := range p.state.Repositories {
		s := sites[r.Installation]
		if s == nil || !p.seen[r.ID] || failed[r.Name] || p.left(&p.Entry, r) {
			continue
		}
		p.report.Mirrors++
		j := &job{site: s, record: r, urgent: 2}
		every := p.Entry.FullEvery
		j.code = p.Full || code.git[r.ID] || r.Code.Failure != nil || r.due(every, p.now) ||
			p.largeDue(&r.Code, code.large[r.ID]) || p.touched(r, false)
		j.wiki = p.Entry.Wikis && r.HasWiki && (p.Full || wikis.git[r.ID] || r.Wiki.Failure != nil ||
			r.wikiDue(every, p.now) || p.largeDue(&r.Wiki, wikis.large[r.ID]) || p.touched(r, true))
		if p.Patient && r.Code.Failure.waits(p.now) {
			p.report.Waiting++
			j.code = false
		}
		j.wiki = j.wiki && !(p.Patient && r.Wiki.Failure.waits(p.now))
		switch {
		case !j.code && !j.wiki:
			continue
		case r.Path == "":
			j.urgent = 1
		case !r.PushedAt.Equal(r.PushedThen):
			j.urgent = 0
		}
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b *job) int {
		return cmp.Or(cmp.Compare(a.urgent, b.urgent), cmp.Compare(a.record.ID, b.record.ID))
	})
	return jobs
}

// largeDue reports whether the large files of a copy have to be looked after, of which some may have
// been found damaged.
func (p *pass) largeDue(c *Copy, marked bool) bool {
	return p.Entry.LFS && !c.Absent && (marked && c.Large.Failure == nil || c.Large.due(p.Patient, p.now))
}

// touched reports whether somebody else has changed a mirror, or its wiki, since it was brought up to date.
func (p *pass) touched(r *Record, wiki bool) bool {
	switch {
	case r.Path == "":
		return false
	case wiki:
		return r.Wiki.Stat != nil && !r.Wiki.Stat.Equal(p.stat(wikiOf(r.Path)))
	}
	return r.Code.Stat != nil && !r.Code.Stat.Equal(p.stat(r.Path))
}

// stat looks at a mirror.
func (r *Run) stat(path string) barerepo.Stat {
	return (&barerepo.Repository{Dir: filepath.Join(r.dir, path)}).Stat()
}

// count counts the mirrors that are as GitHub says.
func (p *pass) count() {
	p.records.Lock()
	defer p.records.Unlock()
	for _, r := range p.state.Repositories {
		if p.seen[r.ID] && !r.Left && r.Path != "" && !r.Failing() {
			p.report.Fresh++
		}
	}
}

// fail notes a failure.
func (p *pass) fail(f Failed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Failed = append(p.report.Failed, f)
}

// failOwner notes that nothing of an owner can be mirrored.
func (p *pass) failOwner(owner string, err error) {
	f := Failed{Account: owner, Err: err}
	p.owners = append(p.owners, f)
	p.fail(f)
}

// failure is what is remembered of an error, after the failure before.
func (p *pass) failure(before *Failure, err error) *Failure {
	report := diag.Explain(err)
	now := time.Now().UTC().Truncate(time.Second)
	f := &Failure{
		At: now, Since: now, Tries: 1,
		Message: report.Message, Hint: report.Hint, Kind: report.Kind, Exit: report.ExitCode,
	}
	if before != nil {
		f.Since, f.Tries = before.Since, before.Tries+1
	}
	f.Again = now.Add(pause(f.Tries))
	return f
}

// dirty has a record written, as it is now.
func (p *pass) dirty(r *Record) { p.pending.put(r) }

// done has a record written that nobody changes any more in this pass, soon.
func (p *pass) done(r *Record) error {
	p.pending.put(r)
	return p.pending.write(writePause)
}
