package mirror

import (
	"context"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// page is what a person is shown. Nothing is asked of GitHub for it.
func (w *watcher) page(context.Context) (page.Page, error) {
	p := &page.Mirrors{Version: w.Version, Activity: w.limits.Activity(&w.metrics.fetched)}
	var all []page.Mirror
	keepers := w.keepers()
	for _, k := range keepers {
		p.FreshFor = max(p.FreshFor, 2*k.entry.Load().FullEvery)
		p.Busy += int(k.busy.Load())
		state, err := StoreOf(k.dir).Read()
		if err != nil {
			w.log.Error("the page cannot be shown", "directory", k.dir, "error", err)
			return nil, err
		}
		for _, r := range state.Repositories {
			if !r.Left {
				all = append(all, shown(r, state.Host))
			}
		}
	}
	slices.SortFunc(all, func(a, b page.Mirror) int { return strings.Compare(a.Name, b.Name) })
	p.All = func(yield func(page.Mirror, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
	}
	return p, nil
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
