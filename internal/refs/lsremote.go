package refs

import (
	"strings"

	"github.com/ghapp-dev/ghapp"
)

// ReadLsRemote finds what is wanted in what `git ls-remote --symref` prints of a
// repository (https://git-scm.com/docs/git-ls-remote). The error is a [*RefError] where
// it is not there, and else says which line is none of git's.
func (w Revision) ReadLsRemote(r ghapp.RepositoryName, printed string) (Found, error) {
	l, err := newListing(w)
	if err != nil {
		return Found{}, err
	}
	var last ref
	target := ""
	take := func() error {
		if last.name == "" {
			return nil
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
			err = unsuitablef("git ls-remote printed a line that is no ref")
		case peeled && tag == last.name:
			last.peeled = object
		default:
			err = take()
			last = ref{name: name, object: object}
			if name == head {
				last.target = target
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
