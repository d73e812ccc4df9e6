// Package inventory says which repositories an installation reaches, and what of them has
// changed, in as few requests as that takes.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Repository is what GitHub says of a repository.
type Repository struct {
	ID            int64  // stays when it is renamed or transferred
	NodeID        string // its ID in the GraphQL API
	Name          ghapp.RepositoryName
	PushedAt      time.Time // zero: never
	DefaultBranch string    // "" where it was not told
	Visibility    string    // public, private or internal
	Archived      bool
	Fork          bool
	Wiki          bool // it has one, or may get one
	Topics        []string
	SizeKB        int64 // KiB
}

// Listing is what an installation reaches.
type Listing struct {
	// Repositories are in the order of their IDs.
	Repositories []Repository
	// Complete says that these are all: every page came, and their entries are as many as
	// GitHub says that there are. Only then is what is missing here not reached any more.
	Complete bool
	// Whole says that each of them was listed anew by the REST API, and not only asked for.
	Whole bool
	// Calls are the requests that it took.
	Calls int
}

// Asker asks about the repositories of one installation. It is safe for concurrent use.
type Asker struct {
	// App is the one that is installed. Required.
	App *ghapp.App
	// Source gives a token that reaches all repositories of the installation, and needs no more
	// permission than metadata: read. Required.
	Source ghapp.TokenSource
	// Client says how the GraphQL API is reached.
	Client ghapp.Client
	// Host is that of the names; "" leaves it out.
	Host string
	// REST asks by the REST API alone.
	REST bool
	// Topics has those asked for each time, and not only when all is listed.
	Topics bool
	// Spare is asked before each request but the first whether the budget of requests allows it.
	// Its error, which has the Kind [ghapp.ErrRateLimited], ends the asking. Nil: it does.
	Spare func() error
	// Log is told of what is passed over. Nil: nothing is logged.
	Log *slog.Logger

	noBranches atomic.Bool // GraphQL does not tell the token of default branches
}

const (
	// perPage is how many repositories GitHub lists in one request.
	perPage = 100
	// perNodes is how many nodes one field may be asked for, and fieldsAtOnce how many such fields
	// stand in one request.
	perNodes, fieldsAtOnce = 100, 2
	// atOnce bounds the requests that are under way. GitHub allows a hundred of all its clients
	// of an App together
	// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
	atOnce = 8
	// mostPages bounds a listing, whatever the server says.
	mostPages = 10_000
	// leastNodes is from how many known repositories on GraphQL takes fewer requests than listing
	// all.
	leastNodes = 2*perPage + 1
)

func (a *Asker) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// Look finds out what there is by now. known are all repositories of the listing before, in any
// order: where they are still all there are, GraphQL tells what has changed of them, else all is
// listed anew, as it is where whole says so. An error comes with what was found until then, which
// is not [Listing.Complete].
func (a *Asker) Look(ctx context.Context, known []Repository, whole bool) (*Listing, error) {
	l := &listing{asker: a, names: map[string]string{}}
	first, err := l.page(ctx, 1)
	if err != nil {
		return l.result(false), err
	}
	if !whole && !a.REST && len(known) >= leastNodes && l.total == len(known) {
		found, err := l.ask(ctx, known)
		switch {
		case err == nil && found:
			return l.result(true), nil
		case ctx.Err() != nil, errors.Is(err, ghapp.ErrRateLimited):
			return l.result(false), err
		case err != nil:
			a.log().Info("all repositories are listed, since GraphQL does not tell of them", "error", err)
		}
		l.forget()
	}
	complete, err := l.rest(ctx, first)
	if err == nil && !complete { // something came or went meanwhile
		l.forget()
		if first, err = l.page(ctx, 1); err == nil {
			complete, err = l.rest(ctx, first)
		}
	}
	r := l.result(complete && err == nil)
	r.Whole = true
	return r, err
}

// listing is what has been found so far.
type listing struct {
	asker *Asker

	mu    sync.Mutex
	calls int
	total int // as the first page says; -1: it does not say
	moved bool
	found []Repository
	seen  int               // entries of pages
	names map[string]string // texts that many repositories have, kept once
}

func (l *listing) forget() { l.found, l.seen, l.moved = nil, 0, false }

// result is all that was found, each once.
func (l *listing) result(complete bool) *Listing {
	slices.SortFunc(l.found, func(a, b Repository) int { return cmp.Compare(a.ID, b.ID) })
	return &Listing{Repositories: l.found, Complete: complete, Calls: l.calls}
}

// spend counts a request, before it is made.
func (l *listing) spend() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls > 0 && l.asker.Spare != nil {
		if err := l.asker.Spare(); err != nil {
			return err
		}
	}
	l.calls++
	return nil
}

// page asks for one page by REST.
func (l *listing) page(ctx context.Context, number int) ([]*ghapp.RepositoryInfo, error) {
	if err := l.spend(); err != nil {
		return nil, err
	}
	token, err := l.asker.Source.Token(ctx)
	if err != nil {
		return nil, err
	}
	list, total, err := l.asker.App.RepositoryPage(ctx, token, number)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case number == 1:
		l.total = total
	case total != l.total:
		l.moved = true
	}
	return list, err
}

// rest lists everything, and reports whether nothing is missing.
func (l *listing) rest(ctx context.Context, first []*ghapp.RepositoryInfo) (complete bool, err error) {
	l.take(first)
	if l.total < 0 {
		err = l.oneByOne(ctx, first)
		return false, err // nobody says how many there are
	}
	pages := (l.total + perPage - 1) / perPage
	if pages > mostPages {
		return false, &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: "list the repositories of the installation",
			Err: fmt.Errorf("%d are said to be there, and %d are listed at most", l.total, mostPages*perPage)}
	}
	asked, ctx := errgroup.WithContext(ctx)
	asked.SetLimit(atOnce)
	for number := 2; number <= pages; number++ {
		asked.Go(func() error {
			list, err := l.page(ctx, number)
			if err == nil {
				l.take(list)
			}
			return err
		})
	}
	if err := asked.Wait(); err != nil {
		return false, err
	}
	return l.unique() == l.total && l.seen == l.total && !l.moved, nil
}

// oneByOne is for a server that does not say how many there are.
func (l *listing) oneByOne(ctx context.Context, list []*ghapp.RepositoryInfo) error {
	for number := 2; len(list) >= perPage && number <= mostPages; number++ {
		var err error
		if list, err = l.page(ctx, number); err != nil {
			return err
		}
		l.take(list)
	}
	l.unique()
	return nil
}

// unique drops what stands on two pages, and returns how many there are, those that cannot be
// used included.
func (l *listing) unique() int {
	unusable := l.seen - len(l.found)
	slices.SortFunc(l.found, func(a, b Repository) int { return cmp.Compare(a.ID, b.ID) })
	l.found = slices.CompactFunc(l.found, func(a, b Repository) bool { return a.ID == b.ID })
	return len(l.found) + unusable
}

// take takes the repositories of a page. One whose name GitHub could not have is passed over.
func (l *listing) take(list []*ghapp.RepositoryInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range list {
		l.seen++
		name, err := ghapp.ParseRepository(r.FullName)
		if err != nil || name.Wiki || name.Host != "" || r.ID <= 0 {
			l.asker.log().Warn("a repository is passed over, since nothing on GitHub can be called so",
				"name", text.Shorten(text.OneLine(r.FullName), 100))
			continue
		}
		name.Host, name.Owner = l.asker.Host, l.once(name.Owner)
		l.found = append(l.found, Repository{
			ID: r.ID, NodeID: r.NodeID, Name: name, PushedAt: r.PushedAt, DefaultBranch: l.once(r.DefaultBranch),
			Visibility: l.once(r.Visibility), Archived: r.Archived, Fork: r.Fork, Wiki: r.Wiki, Topics: r.Topics,
			SizeKB: r.SizeKB,
		})
	}
}

// once is a text that was met before, so that it is in the memory once.
func (l *listing) once(s string) string {
	if kept, ok := l.names[s]; ok {
		return kept
	}
	if len(l.names) < 10_000 {
		l.names[s] = s
	}
	return s
}

// Gone asks for a repository by its ID, and reports what GitHub says of one that is not listed.
// The error means that it says nothing of it.
func (a *Asker) Gone(ctx context.Context, id int64) (Absence, error) {
	token, err := a.Source.Token(ctx)
	if err != nil {
		return "", err
	}
	_, err = a.App.RepositoryByID(ctx, token, id)
	e, refused := errors.AsType[*ghapp.Error](err)
	switch {
	case err == nil:
		return Present, nil
	case !refused:
		return "", err
	case e.Status == http.StatusNotFound:
		return NotFound, nil
	case e.Status == http.StatusUnavailableForLegalReasons:
		return Blocked, nil
	}
	return "", err
}

// Absence is what GitHub says of a repository that is not listed.
type Absence string

// What GitHub says.
const (
	// Present: it answers, as a public one does that the installation does not reach.
	Present Absence = "present"
	// NotFound is a 404: it was deleted, or went where the installation does not reach it.
	NotFound Absence = "not-found"
	// Blocked is a 451: it is kept from everybody for legal reasons.
	Blocked Absence = "blocked"
)
