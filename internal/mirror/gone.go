package mirror

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/inventory"
)

const (
	// mostAsked bounds how many of an installation's repositories are asked for by ID in a pass.
	mostAsked = 100
	// askAgain lies between two questions for a repository that was not there.
	askAgain = 24 * time.Hour
)

// missing marks the mirrors whose repositories an installation's listing lacks. It is for listings that
// are complete, and does not rely on them alone: GitHub is asked for each repository by its ID.
func (p *pass) missing(ctx context.Context, s *site) {
	var list []*Record
	for _, r := range p.state.Repositories {
		if r.Installation == s.info.ID && !p.seen[r.ID] && (r.Path != "" || r.Gone == nil) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Record) int { return strings.Compare(a.Name, b.Name) })
	asked := 0
	for _, r := range list {
		switch {
		case r.Path == "" && r.Lost == nil: // there is nothing to be kept
			p.forget(r)
		case r.Gone != nil && p.now.Sub(r.Gone.AskedAt) < askAgain: // it is known
		case asked == mostAsked, s.listed == 0, s.budget.spare() != nil:
			// GitHub is not asked by ID once mostAsked were asked for, where the listing is empty, or
			// where the rest of the API budget is for others.
			p.mark(r, cmp.Or(reasonOf(r), Unlisted))
		default:
			asked++
			p.mark(r, p.ask(ctx, s, r))
			r.Gone.AskedAt = p.now
			p.dirty(r)
		}
	}
}

func reasonOf(r *Record) Reason {
	if r.Gone == nil {
		return ""
	}
	return r.Gone.Reason
}

// ask asks GitHub by its ID why a repository is not listed.
func (p *pass) ask(ctx context.Context, s *site, r *Record) Reason {
	absence, err := s.asker.Gone(s.budget.within(ctx), r.ID)
	switch {
	case err != nil:
		p.Log.Warn("GitHub does not say what has become of a repository that it does not list any more",
			"repository", r.Name, "error", err)
		return cmp.Or(reasonOf(r), Unlisted)
	case absence == inventory.NotFound:
		return NotFound
	case absence == inventory.Blocked:
		return Blocked
	}
	return NotSelected
}

// mark marks a mirror as not kept up to date any more.
func (p *pass) mark(r *Record, reason Reason) {
	if r.Gone != nil && r.Gone.Reason == reason {
		return
	}
	r.Gone = &Gone{Reason: reason, Since: p.now}
	p.dirty(r)
	p.report.Gone = append(p.report.Gone, *r)
	p.Log.Warn("a mirror is not kept up to date any more", "repository", r.Name, "reason", string(reason),
		"mirror", filepath.Join(p.dir, r.Path))
}

// lost marks the mirrors of an installation that is suspended, or that does not exist any more. That an
// installation is suspended is also a failure of the pass, where it is
// named, something of it is mirrored, or nothing else is there.
func (p *pass) lost(installations map[int64]*site) {
	for _, r := range p.state.Repositories {
		s := installations[r.Installation]
		switch {
		case r.Path == "" || p.seen[r.ID]:
		case s == nil && p.allListed:
			if known := p.state.Installations[r.Installation]; known == nil || p.covers(known.Account) {
				p.mark(r, Uninstalled)
			}
		case s != nil && !s.info.SuspendedAt.IsZero():
			p.mark(r, Suspended)
		}
	}
	for _, s := range installations {
		if !s.info.SuspendedAt.IsZero() && (len(p.Entry.Owners) > 0 || len(p.seen) == 0 || p.has(s.info.ID)) {
			p.fail(Failed{Account: s.info.Account, Err: &ghapp.Error{Kind: ghapp.ErrSuspended,
				Op:  "mirror the repositories of " + s.info.Account,
				Err: errors.New("the installation has been suspended since " + s.info.SuspendedAt.UTC().Format(time.DateOnly))}})
		}
	}
}

// has reports whether there is a mirror of a repository of an installation.
func (p *pass) has(installation int64) bool {
	for _, r := range p.state.Repositories {
		if r.Installation == installation && r.Path != "" {
			return true
		}
	}
	return false
}

// forget takes a record out of what is remembered.
func (p *pass) forget(r *Record) {
	delete(p.state.Repositories, r.ID)
	p.pending.forget(r.ID)
}

// left reports whether the options leave a repository out, and notes that in its record.
func (p *pass) left(m *config.Mirror, r *Record) bool {
	left := !chosen(m, r)
	if left != r.Left {
		r.Left = left
		p.dirty(r)
	}
	return left
}
