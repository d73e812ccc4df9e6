//go:build unix

package syncer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// page is what a person is shown at GET /. Nothing is asked of GitHub for it, and no file of a
// release is looked at.
func (w *service) page(context.Context) (page.Page, error) {
	p := page.Sync{Version: w.Version}
	for _, d := range w.now.Load().directories {
		p.Directories = append(p.Directories, d.page())
	}
	w.metrics.page(&p)
	p.Activity = w.now.Load().limits.Activity(&w.metrics.fetched)
	return p, nil
}

// page is what the directory itself says.
func (d *directory) page() page.Directory {
	r := d.currentName()
	shown := page.Directory{
		Name: d.entry.Name, Repository: r.String(), Wanted: d.revision.String(), Path: d.entry.To,
		Address: d.asker.Origin + "/" + r.Owner + "/" + r.Name, Period: d.target.Every(), Busy: d.publishing.Load(),
	}
	if r.Wiki {
		shown.Address += "/wiki"
	}
	published := d.release()
	if published != nil {
		shown.Release, shown.Commit, shown.Published = published.ID, published.Commit, published.PublishedAt
		shown.Held, shown.HeldSince = published.Held, published.HeldSince
		if published.ExecFailed() {
			shown.ExecFailures = max(published.ExecFailures, 1)
		}
	}
	kept, err := d.deploy.Kept(published)
	if err != nil {
		d.log.Debug("the page shows no releases", "directory", d.entry.To, "error", err)
	}
	for _, r := range slices.Backward(kept) {
		shown.Releases = append(shown.Releases, page.Release{ID: r.ID, Commit: r.Commit, Published: r.PublishedAt})
	}
	return shown
}

// page adds what was counted.
func (m *metrics) page(p *page.Sync) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range p.Directories {
		of := m.directory(p.Directories[i].Name)
		p.Directories[i].Succeeded = of.succeeded
		if of.failure != nil {
			failure := *of.failure
			failure.Again = of.retry
			p.Directories[i].Failure = &failure
		}
	}
}

// forStrangers is what whoever reaches the page is told of a failure: what failed, why, and what
// next. The command lines of the configuration, and what a command or a server has printed, are not
// theirs to read.
func forStrangers(err error, at time.Time) *page.Failure {
	report := diag.Explain(err)
	parts := report.Errors
	if len(parts) == 0 {
		parts = []diag.Report{report}
	}
	var messages []string
	for _, part := range parts {
		first, _, _ := strings.Cut(part.Message, "\n")
		messages = append(messages, first)
	}
	for _, problem := range []deploy.Problem{deploy.ErrCheck, deploy.ErrExec} {
		if !errors.Is(err, problem) {
			continue
		}
		withoutLine := deploy.Error{Op: string(problem)}
		if e, ok := errors.AsType[*deploy.Error](err); ok {
			withoutLine.Err = e.Err
		}
		messages = []string{withoutLine.Error()}
	}
	var secrets scrub.Scrubber
	return &page.Failure{
		Message: secrets.String(strings.Join(messages, "\n")), Hint: secrets.String(report.Hint), Kind: report.Kind, At: at,
	}
}
