package barerepo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Remote is the repository elsewhere.
type Remote interface {
	// Refs lists the refs that begin with the prefixes, as [gitwire.Service.Refs] does. The error
	// wraps [gitwire.ErrUnsupported] where only git may get further.
	Refs(ctx context.Context, prefixes ...string) (*gitwire.Refs, error)
	// Fetch writes a pack to w, and returns its size in bytes, as [gitwire.Service.Fetch] does.
	Fetch(ctx context.Context, q gitwire.Request, w io.Writer) (int64, error)
	// ByGit runs git fetch with [FetchOptions], in an environment that is gitcmd.Bounded, in the bare
	// repository dir, which has neither a remote nor anything of the user's, for exactly these refspecs.
	ByGit(ctx context.Context, dir string, refspecs ...string) error
}

// FetchOptions are those that git fetch is run with by [Remote.ByGit], before "--", the address and
// the refspecs. Refs of a shallow remote are fetched with the rest: git would leave them out with
// a warning, as though the remote had them no more.
func FetchOptions() []string {
	return []string{
		"--force", "--no-tags", "--update-shallow",
		"--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
	}
}

// Skipped is a ref of the remote's that is not taken.
type Skipped struct {
	Ref string // as the remote wrote it: not fit to be shown
	Why string // one line
}

// listing is what a remote has.
type listing struct {
	format  string            // of the objects
	refs    map[string]string // name -> ID
	head    string            // what HEAD stands for, a full name; empty: not known
	skipped []Skipped
}

// defaultPrefixes are the name spaces that follow the remote.
func defaultPrefixes() []string { return []string{heads, "refs/tags/", "refs/notes/"} }

// newListing takes of a remote's answer what can be believed.
func newListing(from *gitwire.Refs, follows func(string) bool) (*listing, error) {
	l := &listing{format: from.Format, refs: make(map[string]string, len(from.List))}
	if l.format == "" {
		l.format = gitwire.SHA1
	}
	if l.format != gitwire.SHA1 && l.format != gitwire.SHA256 {
		return nil, fmt.Errorf("its objects are in the format %q", l.format)
	}
	for _, r := range from.List {
		if r.Name == "HEAD" {
			continue
		}
		if !isID(r.ID, l.format) {
			return nil, fmt.Errorf("the ref %q has no object ID", r.Name)
		}
		if strings.HasPrefix(r.Name, ours) {
			l.skip(r.Name, "names below "+ours+" are those of this mirror")
			continue
		}
		if err := checkRefName(r.Name); err != nil {
			l.skip(r.Name, err.Error())
			continue
		}
		if !follows(r.Name) {
			continue // a server may send more than it was asked for
		}
		if _, twice := l.refs[r.Name]; twice {
			return nil, fmt.Errorf("it has the ref %q twice", r.Name)
		}
		l.refs[r.Name] = r.ID
	}
	l.dropCollisions()
	l.setHead(from.Head)
	slices.SortFunc(l.skipped, func(a, b Skipped) int { return strings.Compare(a.Ref, b.Ref) })
	return l, nil
}

func (l *listing) skip(name, why string) { l.skipped = append(l.skipped, Skipped{name, why}) }

// dropCollisions leaves out what cannot be beside another in the files of one repository:
// where there is a ref a, there can be no a/b.
func (l *listing) dropCollisions() {
	for name := range l.refs {
		for above := parentName(name); above != ""; above = parentName(above) {
			if _, both := l.refs[above]; both {
				l.skip(name, fmt.Sprintf("there is a ref %q too", above))
				break
			}
		}
	}
	for _, s := range l.skipped {
		delete(l.refs, s.Ref)
	}
}

// parentName is a name without its last part; "" where nothing of it can be a ref.
func parentName(name string) string {
	name = name[:max(strings.LastIndexByte(name, '/'), 0)]
	if strings.Count(name, "/") < 2 {
		return ""
	}
	return name
}

// setHead takes the default branch, which may be one that is yet to come.
func (l *listing) setHead(name string) {
	if name == "" {
		return
	}
	if !strings.HasPrefix(name, heads) || checkRefName(name) != nil {
		l.skip("HEAD", fmt.Sprintf("it stands for %q, which is no branch", name))
		return
	}
	l.head = name
}
