package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// page is what a person is shown. Nothing is asked of GitHub for it.
func (w *watcher) page(context.Context) (page.Page, error) {
	p := &page.Mirrors{Version: w.Version, Activity: w.limits.Activity(&w.metrics.fetched)}
	for _, k := range w.keepers() {
		p.FreshFor = max(p.FreshFor, 2*k.entry.Load().FullEvery)
		p.Busy += int(k.busy.Load())
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
		for _, r := range state.Repositories {
			if !r.Left {
				list = append(list, shown(r, state.Host))
			}
		}
	}
	slices.SortFunc(list, func(a, b page.Mirror) int { return strings.Compare(a.Name, b.Name) })
	s.of, s.at, s.list = of, now, list
	return list, nil
}

// shown is a record as a person sees it.
func shown(r *Record, host string) page.Mirror {
	m := page.Mirror{
		Name: r.Name, Address: "https://" + host + "/" + r.Name, Compared: r.Code.ComparedAt,
		Size: r.Code.Bytes + r.Wiki.Bytes, Kept: r.Code.Kept + r.Wiki.Kept, KeptSince: r.Code.KeptSince,
	}
	if r.Gone != nil {
		m.Gone, m.Reason = r.Gone.Since, string(r.Gone.Reason)
	}
	if f := r.Code.Failure; f != nil {
		var secrets scrub.Scrubber
		m.Failure = &page.Failure{
			Message: secrets.String(f.Message), Hint: secrets.String(f.Hint), Kind: f.Kind, At: f.At, Again: f.Again,
		}
	}
	return m
}
