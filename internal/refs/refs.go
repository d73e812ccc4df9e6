// Package refs asks a git host which commit a ref of a repository is at, without git:
// one request over a kept connection, or one for many repositories.
package refs

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// The namespaces of refs (gitglossary(7), "ref").
const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
	head  = "HEAD"
)

// Revision says which commit of a repository is wanted. At most one field is set; the zero
// Revision is the tip of the default branch.
type Revision struct {
	Branch string // without refs/heads/
	Tag    string // without refs/tags/
	Commit string // 40 or 64 hex digits
	// Version is a constraint on semantic versions, such as "*", "^1.4" or ">=2, <3":
	// the highest tag that fits is wanted. Such a tag is v1.2.3 or 1.2.3, with all three
	// numbers; a pre-release only fits a constraint that names one
	// (https://semver.org, https://pkg.go.dev/github.com/Masterminds/semver/v3).
	Version string
}

// Found is what is wanted now.
type Found struct {
	// Repository is the one that answered: another name than was asked for after a
	// renaming or a transfer.
	Repository ghapp.RepositoryName
	// Ref is the full name of the ref, HEAD where that is on no branch, and empty for
	// a commit.
	Ref string
	// Commit is the object ID in lower-case hex; of an annotated tag, what it points to.
	Commit string
}

// Validate reports what is wrong with w: more than one field, or a name that git would
// not have (git-check-ref-format(1)), that begins with a hyphen, or that cannot be
// printed. The Kind of the error is [ghapp.ErrInvalid].
func (w Revision) Validate() error {
	set := 0
	for _, field := range []string{w.Branch, w.Tag, w.Commit, w.Version} {
		if field != "" {
			set++
		}
	}
	var err error
	switch {
	case set > 1:
		err = errors.New("more than one of branch, tag, commit and version is wanted; decide on one")
	case w.Branch != "":
		err = checkName("branch", w.Branch)
	case w.Tag != "":
		err = checkName("tag", w.Tag)
	case w.Commit != "" && !gitwire.IsObjectID(strings.ToLower(w.Commit)):
		err = fmt.Errorf("%q is not the ID of a commit: 40 hex digits are, or 64 in a repository with SHA-256", w.Commit)
	case w.Version != "":
		_, err = parseConstraint(w.Version)
	}
	if err != nil {
		return &ghapp.Error{Kind: ghapp.ErrInvalid, Op: "read which commit is wanted", Err: err}
	}
	return nil
}

// Matches reports whether a push of a ref, by its full name, may change the answer.
func (w Revision) Matches(ref string) bool {
	switch {
	case w.Branch != "":
		return ref == heads+w.Branch
	case w.Tag != "":
		return ref == tags+w.Tag
	case w.Commit != "":
		return false
	case w.Version != "":
		c, err := parseConstraint(w.Version)
		tag, ok := strings.CutPrefix(ref, tags)
		if err != nil || !ok {
			return false
		}
		v := versionOf(tag)
		return v != nil && c.Check(v)
	}
	return strings.HasPrefix(ref, heads) // which is the default branch is not known
}

// String names what is wanted, for messages.
func (w Revision) String() string {
	switch {
	case w.Branch != "":
		return "branch " + w.Branch
	case w.Tag != "":
		return "tag " + w.Tag
	case w.Commit != "":
		return "commit " + w.Commit
	case w.Version != "":
		return "version " + w.Version
	}
	return "the default branch"
}

// prefixes are what a server is asked for: the least that has the answer, and HEAD,
// which tells a repository that lacks the ref from an empty one.
func (w Revision) prefixes() []string {
	switch {
	case w.Branch != "":
		return []string{heads + w.Branch, head}
	case w.Tag != "":
		return []string{tags + w.Tag, head}
	case w.Version != "":
		return []string{tags, head}
	}
	return []string{head}
}

// RefError is a repository that has not got what is wanted.
type RefError struct {
	Repository ghapp.RepositoryName
	Revision   Revision
	Empty      bool // it has no commit at all
}

// Error is one line.
func (e *RefError) Error() string {
	switch {
	case e.Empty:
		return fmt.Sprintf("%s is empty: it has no commit yet, and so no %s",
			e.Repository, strings.TrimPrefix(e.Revision.String(), "the "))
	case e.Revision == Revision{}:
		return fmt.Sprintf("the default branch of %s has no commit", e.Repository)
	case e.Revision.Version != "":
		return fmt.Sprintf("%s has no tag that fits version %s", e.Repository, e.Revision.Version)
	}
	return fmt.Sprintf("%s has no %s", e.Repository, e.Revision)
}

// maxName is far above what file systems and GitHub allow a ref.
const maxName = 1000

// checkName holds a branch or tag against the rules of git-check-ref-format(1).
func checkName(what, name string) error {
	bad := func(why string) error { return fmt.Errorf("%q is not the name of a %s: %s", name, what, why) }
	switch {
	case len(name) > maxName:
		return fmt.Errorf("the name of the %s is longer than %d bytes", what, maxName)
	case strings.HasPrefix(name, "-"):
		return bad("it begins with a hyphen")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !text.IsPrintable(r) }):
		return bad("it has a character that cannot be printed")
	case strings.ContainsAny(name, " ~^:?*[\\"):
		return bad(`git allows none of space ~ ^ : ? * [ \ in it`)
	case strings.Contains(name, ".."), strings.Contains(name, "@{"), strings.HasSuffix(name, "."):
		return bad("git allows no .., no @{ and no dot at the end")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return bad("a part between slashes is empty")
		case strings.HasPrefix(part, "."), strings.HasSuffix(part, ".lock"):
			return bad("no part of it may begin with a dot or end with .lock")
		}
	}
	return nil
}
