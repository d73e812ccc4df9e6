package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// page is what a person is shown. Nothing is asked of GitHub for it.
func (w *watcher) page(context.Context) (page.Page, error) {
	p := &page.Mirrors{Version: w.Version, Activity: w.limits.Activity(&w.metrics.fetched)}
	for _, k := range w.keepers() {
		p.FreshFor = max(p.FreshFor, 2*k.entry.Load().FullEvery)
		p.Busy += int(k.busy.Load())
		p.Failures = append(p.Failures, k.shownFailures()...)
	}
	all, err := w.snapshot.mirrors(w.now.Load(), time.Now())
	if err != nil {
		w.log.Error("the page cannot be shown", "error", err)
		return nil, err
	}
	p.All = func(yield func(page.Mirror, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
	}
	return p, nil
}

// snapshotLife is how long what was read of all mirrors is shown, and not read anew.
const snapshotLife = 3 * time.Second

// snapshot is what all mirrors were like a moment ago: to read of very many takes as long as a person
// notices, and a page that is open is asked for again and again. The zero value is empty.
type snapshot struct {
	mu   sync.Mutex // held while they are read: who comes meanwhile waits for the same
	of   *[]*keeper
	at   time.Time
	list []page.Mirror // by name, and never changed
}

// mirrors are those of some keepers.
func (s *snapshot) mirrors(of *[]*keeper, now time.Time) ([]page.Mirror, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == of && now.Sub(s.at) < snapshotLife {
		return s.list, nil
	}
	var list []page.Mirror
	for _, k := range *of {
		state, err := StoreOf(k.dir).Read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.dir, err)
		}
		origin := "https://" + state.Host
		if o := k.run.origin.Load(); o != nil {
			origin = *o
		}
		for _, r := range state.Repositories {
			if !r.Left {
				list = append(list, shown(r, origin))
			}
		}
	}
	slices.SortFunc(list, func(a, b page.Mirror) int { return strings.Compare(a.Name, b.Name) })
	s.of, s.at, s.list = of, now, list
	return list, nil
}

// forget has the next page read all mirrors anew.
func (s *snapshot) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = nil
}

// shownFailures are those of what is no mirror: of owners, and of the directory as a whole.
func (k *keeper) shownFailures() (list []page.Other) {
	k.mu.Lock()
	defer k.mu.Unlock()
	add := func(name string, err error, at, again time.Time) {
		report := diag.Explain(err)
		f := shownFailure(report.Message, report.Hint, report.Kind)
		f.At, f.Again = at, again
		list = append(list, page.Other{Name: name, Failure: *f})
	}
	if k.report != nil {
		for _, f := range k.report.Failed {
			if f.Repository == "" {
				add(f.Account, f.Err, k.report.Began.Add(k.report.Took), f.Again)
			}
		}
	}
	if gone := k.run.checkPresence(); gone != nil {
		add(k.dir, gone, time.Time{}, time.Time{})
	} else if k.unended != nil {
		add(k.dir, k.unended, k.ended, k.retry)
	}
	return list
}

// shownFailure is a failure as a person sees it.
func shownFailure(message, hint, kind string) *page.Failure {
	var secrets scrub.Scrubber
	return &page.Failure{Message: secrets.String(message), Hint: secrets.String(hint), Kind: kind}
}

// shown is a record as a person sees it.
func shown(r *Record, origin string) page.Mirror {
	m := page.Mirror{
		Name: r.Name, Address: origin + "/" + r.Name, Compared: r.Code.ComparedAt,
		Size: r.Code.Bytes + r.Wiki.Bytes, Kept: r.Code.Kept + r.Wiki.Kept, KeptSince: r.Code.KeptSince,
	}
	if r.Gone != nil {
		m.Gone, m.Reason = r.Gone.Since, string(r.Gone.Reason)
	}
	if f := r.Code.Failure; f != nil {
		m.Failure = shownFailure(f.Message, f.Hint, f.Kind)
		m.Failure.At, m.Failure.Again = f.At, f.Again
	}
	return m
}
