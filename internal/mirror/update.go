package mirror

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// reachable is a mirror that can be brought up to date by itself, since the last listing had its
// repository.
type reachable struct {
	record *Record
	site   *site // whose tokens are kept from one update to the next
}

// reachable are those that can be. What is in a place that is not its own is for a pass. The lock
// is held.
func (p *pass) reachable(sites map[int64]*site) map[int64]reachable {
	all := map[int64]reachable{}
	of := map[*site][]*Record{}
	for id := range p.seen {
		r := p.state.Repositories[id]
		if s := sites[r.Installation]; s != nil && !r.Left && (r.Path == "" || r.Path == r.wanted()) {
			of[s] = append(of[s], r)
		}
	}
	for s, records := range of {
		// By ID, so that a new one changes the last token alone.
		slices.SortFunc(records, func(a, b *Record) int { return cmp.Compare(a.ID, b.ID) })
		names := make([]string, len(records))
		lasting := &site{app: s.app, session: s.session, info: s.info, asker: s.asker, budget: s.budget, gate: s.gate}
		for i, r := range records {
			names[i] = r.Name
			all[r.ID] = reachable{r, lasting}
		}
		lasting.tokens = newTokens(names, s.reads)
	}
	return all
}

// ErrUnknown is a repository that is not mirrored, or only by a pass.
var ErrUnknown = errors.New("there is no mirror of the repository yet")

// view is what can be told of a Run while it works. It does not change.
type view struct {
	reachable map[int64]reachable // by the IDs of repositories
	left      map[int64]bool      // those that the options leave out
	host      string              // "": not known yet
	owners    []string            // nil: all
	accounts  map[int64]string    // by the IDs of their installations
}

// see has the view be as things are now.
func (r *Run) see(all map[int64]reachable) {
	v := &view{all, map[int64]bool{}, r.state.Host, r.Entry.Owners, map[int64]string{}}
	for id, one := range r.state.Repositories {
		if one.Left {
			v.left[id] = true
		}
	}
	for id, i := range r.state.Installations {
		v.accounts[id] = i.Account
	}
	r.view.Store(v)
}

// Knows reports whether [Run.Update] can do something for a repository, by its ID, and whether the
// options leave it out.
func (r *Run) Knows(id int64) (reaches, left bool) {
	v := r.view.Load()
	_, reaches = v.reachable[id]
	return reaches, v.left[id]
}

// Covers reports whether a pass may find something new where GitHub tells of an installation, 0
// being none, or of repositories of an owner, "" being none. Only the host that all are of counts;
// "" was not told.
func (r *Run) Covers(host string, installation int64, owner string) bool {
	v := r.view.Load()
	if host != "" && v.host != "" && !strings.EqualFold(host, v.host) {
		return false
	}
	account, known := v.accounts[installation]
	return known && among(v.owners, account) || owner != "" && among(v.owners, owner) ||
		owner == "" && len(v.owners) == 0
}

// Update compares the mirror of one repository with GitHub, at once and beside a pass that may be
// under way: nothing is listed for it, and the tokens of before serve. That it failed stands in
// the report. The error is [ErrUnknown], that of writing down what was done, or that of ctx.
func (r *Run) Update(ctx context.Context, id int64) (*Report, error) {
	r.records.RLock()
	defer r.records.RUnlock()
	known, ok := r.view.Load().reachable[id]
	if !ok {
		return nil, ErrUnknown
	}
	p := r.newPass(Request{})
	if gone := r.checkPresence(); gone != nil {
		p.report.Stopped = gone
		return p.report, nil
	}
	calls := r.calls.Load()
	t := p.transfers()
	t.services[known.site] = &remote{run: r, site: known.site, service: known.site.service(p)}
	err := t.do(ctx, &job{site: known.site, record: known.record, code: true})
	if full := t.full.Load(); full != nil {
		p.report.Stopped = full
	}
	p.report.Calls = r.calls.Load() - calls
	return p.report, cmp.Or(err, r.pending.write(0), context.Cause(ctx))
}

// mostWarm bounds the tokens that [Run.Warm] has ready.
const mostWarm = 8

// Warm has tokens ready for updates, and renewed that are about to end: for all mirrors where those
// are not very many, and else for the first of them.
func (r *Run) Warm(ctx context.Context) error {
	r.records.RLock() // for the names
	warm := map[*chunk]string{}
	for _, known := range r.view.Load().reachable {
		name := strings.ToLower(known.record.Name)
		if c := known.site.tokens.chunks[name]; c != nil && (len(warm) < mostWarm || warm[c] != "") {
			warm[c] = name
		}
	}
	r.records.RUnlock()
	for c, name := range warm {
		if _, err := c.token(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// claims are the mirrors that somebody works on. The zero value has none.
type claims struct {
	mu  sync.Mutex
	all map[int64]chan struct{} // by the IDs of their repositories; closed when it is over
}

// claim waits until nobody else works on a mirror. The error is the cause of ctx.
func (c *claims) claim(ctx context.Context, id int64) (release func(), err error) {
	for {
		c.mu.Lock()
		over, taken := c.all[id]
		if !taken {
			if c.all == nil {
				c.all = map[int64]chan struct{}{}
			}
			over = make(chan struct{})
			c.all[id] = over
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.all, id)
				c.mu.Unlock()
				close(over)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
