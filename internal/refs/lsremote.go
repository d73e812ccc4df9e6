package refs

import (
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// ReadLsRemote finds what is wanted in what `git ls-remote --symref` prints of a
// repository (https://git-scm.com/docs/git-ls-remote). The error is a [*RefError] where
// it is not there, and else says which line is none of git's.
func (w Revision) ReadLsRemote(r ghapp.RepositoryName, printed string) (Found, error) {
	l, err := newListing(w)
	if err != nil {
		return Found{}, err
	}
	var last gitwire.Ref
	target := ""
	take := func() error {
		if last.Name == "" {
			return nil
		}
		if !gitwire.IsObjectID(last.ID) || last.Peeled != "" && !gitwire.IsObjectID(last.Peeled) {
			return errors.New("git ls-remote printed a ref without an object ID")
		}
		return l.take(last)
	}
	for line := range strings.Lines(printed) {
		object, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if to, symbolic := strings.CutPrefix(object, "ref: "); symbolic && name == head {
			target = to
			continue
		}
		tag, peeled := strings.CutSuffix(name, "^{}")
		switch {
		case !ok || name == "":
			err = errors.New("git ls-remote printed a line that is no ref")
		case peeled && tag == last.Name:
			last.Peeled = object
		default:
			err = take()
			last = gitwire.Ref{Name: name, ID: object}
			if name == head {
				last.Target = target
			}
		}
		if err != nil {
			return Found{}, err
		}
	}
	if err := take(); err != nil {
		return Found{}, err
	}
	if l.found.Commit == "" {
		return Found{}, &RefError{Repository: r, Revision: w, Empty: l.count == 0}
	}
	l.found.Repository = r
	return l.found, nil
}
