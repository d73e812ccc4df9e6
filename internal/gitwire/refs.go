package gitwire

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// Refs are those of a repository, at one moment.
type Refs struct {
	// Repository is the one that answered: another name than was asked for after a
	// renaming or a transfer.
	Repository ghapp.RepositoryName
	// Format is that of the object IDs, [SHA1] or [SHA256]. All of them have it.
	Format string
	// List is sorted by name and has none twice. HEAD is not in it.
	List []Ref
	// Head is the full name of the ref that HEAD stands for, as it was sent: also of one that
	// is yet to come, where the server tells. It is empty where HEAD is on no branch, or
	// nothing is known of it.
	Head string
	// HeadID is the object that HEAD is at; empty where there is none.
	HeadID string
	// Requests is how many were sent.
	Requests int
}

const (
	// maxRefs bounds how many are listed: each takes some 200 bytes of memory.
	maxRefs = 1 << 20
	// maxListing bounds the bytes of a listing.
	maxListing = 256 << 20
	// listingTimeout ends a listing that goes on and on.
	listingTimeout = 10 * time.Minute
)

// Refs lists the refs of a repository whose full names begin with one of the prefixes, and
// all of them where there is none, as [Service.List] does, of an answer in any length of
// time up to ten minutes in which no half minute is silent. More than a million of refs,
// and more than 256 MB, are a [*TooLargeError].
func (s *Service) Refs(ctx context.Context, r ghapp.RepositoryName, prefixes ...string) (*Refs, error) {
	op := "list the refs of " + r.String()
	l := &refsListing{op: op, prefixes: prefixes, max: maxRefs}
	listing := Listing{Op: op, Unborn: true, Begin: l.begin, limits: limits{
		within: listingTimeout, stall: requestTimeout, most: maxListing,
		bound: &TooLargeError{Op: op, What: "bytes of refs", Limit: maxListing},
	}}
	if len(prefixes) > 0 {
		listing.Prefixes = append(slices.Clone(prefixes), head)
	}
	listed, err := s.List(ctx, r, listing)
	if err != nil {
		return nil, err
	}
	refs := l.refs
	refs.Repository, refs.Requests = listed.Repository, listed.Requests
	switch {
	case listed.Format != "" && refs.Format != "" && listed.Format != refs.Format:
		return nil, fmt.Errorf("cannot %s: %w: it names another format than that of its object IDs", op, ErrUnsupported)
	case refs.Format == "":
		refs.Format = cmp.Or(listed.Format, SHA1)
	}
	if !slices.IsSortedFunc(refs.List, byName) {
		slices.SortFunc(refs.List, byName)
	}
	for i := range refs.List[:max(len(refs.List)-1, 0)] {
		if refs.List[i].Name == refs.List[i+1].Name {
			return nil, fmt.Errorf("cannot %s: %w: it has a ref twice", op, ErrUnsupported)
		}
	}
	return &refs, nil
}

func byName(a, b Ref) int { return strings.Compare(a.Name, b.Name) }

// refsListing takes the refs of an answer.
type refsListing struct {
	op       string
	prefixes []string
	max      int
	refs     Refs
}

func (l *refsListing) begin() func(Ref) error {
	l.refs = Refs{}
	return l.take
}

func (l *refsListing) take(r Ref) error {
	for _, id := range []string{r.ID, r.Peeled} {
		if id == "" {
			continue
		}
		format := formatOf(id)
		if l.refs.Format != "" && l.refs.Format != format {
			return protocolErrorf("its object IDs are of two formats")
		}
		l.refs.Format = format
	}
	if r.Name == head {
		l.refs.Head, l.refs.HeadID = r.Target, r.ID
		return nil
	}
	begins := func(prefix string) bool { return strings.HasPrefix(r.Name, prefix) }
	if len(l.prefixes) > 0 && !slices.ContainsFunc(l.prefixes, begins) {
		return nil
	}
	if len(l.refs.List) == l.max {
		return &TooLargeError{Op: l.op, What: "refs", Limit: int64(l.max)}
	}
	l.refs.List = append(l.refs.List, r)
	return nil
}

func formatOf(id string) string {
	if len(id) == 64 {
		return SHA256
	}
	return SHA1
}

// TooLargeError is an answer beyond a bound.
type TooLargeError struct {
	Op    string // what was being done, to which repository
	What  string // is too many: "refs", "bytes of a pack"
	Limit int64  // that it may have
}

// Error is one line.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("cannot %s: there are more than %d %s", e.Op, e.Limit, e.What)
}
