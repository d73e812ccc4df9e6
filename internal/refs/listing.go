package refs

import (
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// listing takes the refs of a server as they come and keeps the one that is wanted.
type listing struct {
	revision   Revision
	constraint *semver.Constraints // of revision.Version

	found   Found
	version *semver.Version // of found
	count   int
}

func newListing(w Revision) (*listing, error) {
	l := &listing{revision: w}
	var err error
	if w.Version != "" {
		l.constraint, err = parseConstraint(w.Version)
	}
	return l, err
}

// reset forgets an answer for the next.
func (l *listing) reset() { *l = listing{revision: l.revision, constraint: l.constraint} }

// take looks at a ref. A server may send more than it was asked for.
func (l *listing) take(r gitwire.Ref) error {
	l.count++
	v, ok := l.matches(r.Name)
	if !ok {
		return nil
	}
	if l.found.Ref == r.Name || l.found.Ref != "" && l.constraint == nil {
		return &gitwire.ProtocolError{Problem: "it has the ref that is wanted twice"}
	}
	if l.version != nil {
		// Equal are 1.2.3 and v1.2.3, and those that differ in what was built.
		if order := v.Compare(l.version); order < 0 || order == 0 && r.Name < l.found.Ref {
			return nil
		}
	}
	l.found.Ref, l.found.Commit, l.version = r.Name, r.ID, v
	if r.Peeled != "" {
		l.found.Commit = r.Peeled
	}
	if r.Name == head && r.Target != "" {
		branch, ok := strings.CutPrefix(r.Target, heads)
		if !ok || checkName("branch", branch) != nil {
			return &gitwire.ProtocolError{Problem: "HEAD stands for what is no branch"}
		}
		l.found.Ref = r.Target
	}
	return nil
}

func (l *listing) matches(name string) (v *semver.Version, ok bool) {
	if l.constraint == nil {
		return nil, name == l.revision.ref()
	}
	if tag, isTag := strings.CutPrefix(name, tags); isTag {
		v = versionOf(tag)
	}
	return v, v != nil && l.constraint.Check(v) && checkName("tag", strings.TrimPrefix(name, tags)) == nil
}

// ref is the full name of the ref that is wanted, where it can be told beforehand.
func (w Revision) ref() string {
	switch {
	case w.Branch != "":
		return heads + w.Branch
	case w.Tag != "":
		return tags + w.Tag
	}
	return head
}
