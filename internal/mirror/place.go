package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// places knows where the mirrors are.
type places struct {
	dir     string                       // of all
	records map[int64]*Record            // all that are known
	at      map[string]*Record           // by their paths
	seen    map[int64]bool               // those that were listed just now
	scanned map[int64][]string           // paths by IDs, as the disk has them; nil: not looked yet
	moved   func(r *Record, from string) // is told of each; from is "" for one that was found
	lost    func(r *Record)              // is told of each that is not there any more
	copied  func(path, other string)     // is told of a mirror, and of another of the same repository, which is left alone
}

// identity is what the configuration of a mirror says of it.
func identity(id int64) string { return strconv.FormatInt(id, 10) }

// wikiIdentity is that of a wiki's.
func wikiIdentity(id int64) string { return identity(id) + "/wiki" }

// identityOf is that of a repository's, or of its wiki's.
func identityOf(id int64, wiki bool) string {
	if wiki {
		return wikiIdentity(id)
	}
	return identity(id)
}

// find has every path be that of a mirror that is there: one that is missing, or of which nothing
// is remembered, is looked for by its ID.
func (p *places) find() error {
	p.at = map[string]*Record{}
	for _, r := range p.records {
		was := r.Path
		if was != "" {
			if _, err := os.Lstat(p.full(was)); errors.Is(err, fs.ErrNotExist) {
				r.Path = ""
			} else if err != nil {
				return err
			}
		}
		if r.Path == "" {
			if err := p.look(r); err != nil {
				return err
			}
		}
		if was != "" && r.Path == "" {
			r.Code, r.Wiki = Copy{}, Copy{}
			p.lost(r)
		}
		if r.Path != "" {
			p.at[r.Path] = r
		}
	}
	return nil
}

func (p *places) full(path string) string { return filepath.Join(p.dir, path) }

// look looks for a mirror by its ID. Of several the one counts that is where its name wants it, and then
// the first.
func (p *places) look(r *Record) error {
	if p.scanned == nil {
		var err error
		if p.scanned, err = scanMirrors(p.dir, "[^.]*/*.git", own+"/moving/*.git"); err != nil {
			return err
		}
	}
	list := p.scanned[r.ID]
	if len(list) == 0 {
		return nil
	}
	if at := slices.Index(list, r.wanted()); at > 0 {
		list[0], list[at] = list[at], list[0]
	}
	r.Path = list[0]
	p.moved(r, "")
	for _, other := range list[1:] {
		p.copied(r.Path, other)
	}
	return nil
}

// strangers are the mirrors that were met of which nothing is remembered and nothing was listed.
func (p *places) strangers() []*Record {
	var list []*Record
	for id, paths := range p.scanned {
		if p.records[id] != nil || strings.HasPrefix(paths[0], own) {
			continue
		}
		list = append(list, scanned(id, paths[0]))
		for _, other := range paths[1:] {
			p.copied(paths[0], other)
		}
	}
	return list
}

// escapeGlob is a path that stands for itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// arrange brings every mirror to where the name of its repository wants it. A rename is one
// rename here; of two that have changed names, one waits in another place. What cannot be moved
// stays where it is: the errors are by IDs.
func (p *places) arrange() map[int64]error {
	errs := map[int64]error{}
	for {
		var waiting []*Record
		progress := false
		for _, r := range p.records {
			if !p.seen[r.ID] || r.Path == r.wanted() || errs[r.ID] != nil {
				continue
			}
			free, err := p.free(r)
			switch {
			case err != nil:
				errs[r.ID] = err
			case r.Path == "":
			case !free:
				waiting = append(waiting, r)
			default:
				progress = true
				if err := p.move(r, r.wanted()); err != nil {
					errs[r.ID] = err
				}
			}
		}
		if len(waiting) == 0 {
			return errs
		}
		if !progress { // each wants the place of another
			r := waiting[0]
			if err := p.move(r, filepath.Join(own, "moving", identity(r.ID)+".git")); err != nil {
				errs[r.ID] = err
			}
		}
	}
}

// free makes room where a mirror belongs, and reports whether there is room already. A mirror of
// another repository, which has lost that name, goes out of the way, to a name that says so.
func (p *places) free(r *Record) (bool, error) {
	to := r.wanted()
	if other := p.at[to]; other != nil && other != r {
		if p.seen[other.ID] && other.wanted() != to {
			return false, nil // it is about to go
		}
		return true, p.move(other, strings.TrimSuffix(to, ".git")+aside(other.ID))
	}
	there, err := os.Lstat(p.full(to))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if r.Path != "" {
		if here, err := os.Lstat(p.full(r.Path)); err == nil && os.SameFile(here, there) {
			return true, nil // the letter case has changed, and the file system does not know of it
		}
	}
	list, err := os.ReadDir(p.full(to))
	if err == nil && len(list) == 0 {
		return true, os.Remove(p.full(to))
	}
	return false, foreign(p.full(to), identity(r.ID), err)
}

// foreign is the error of something in the place of the mirror of a repository that is none, or is that of one
// which nobody knows. unread is why it could not be looked at; nil: it could. What may be a mirror is not to be
// moved away: what it keeps of the past is nowhere else.
func foreign(dir, identity string, unread error) error {
	word := text.ShellWord(dir)
	switch {
	case errors.Is(unread, fs.ErrPermission):
		return &fault.ExitError{Code: fault.Configuration, Err: fmt.Errorf("the mirror cannot be read: %w", unread),
			Hint: "nothing was touched: let the user who runs ghapp read and write it, as with `chown -R USER " + word +
				"` and `chmod -R u+rwX " + word + "`"}
	case wasMirror(dir):
		return &fault.ExitError{Code: fault.Configuration,
			Err: fmt.Errorf("what is in the place of the mirror has lost its configuration, and does not say of which "+
				"repository it is: %s", dir),
			Hint: "nothing was touched: bring its file config back from a copy. Without one, if it is the mirror of this " +
				"repository: `git init --bare " + word + " && git -C " + word + " config ghapp.repository " + identity +
				"`. What it keeps of the past would be lost with it"}
	}
	return &fault.ExitError{Code: fault.Configuration,
		Err:  fmt.Errorf("something else is in the place of the mirror: %s", dir),
		Hint: "nothing was touched: move it away, and the mirror is made at the next run"}
}

// wasMirror reports whether a directory without a configuration has what mirrors alone have.
func wasMirror(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "config")); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	for _, name := range []string{barerepo.JournalName, "refs/ghapp"} {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			return true
		}
	}
	return false
}

// move renames a mirror, and its wiki.
func (p *places) move(r *Record, to string) error {
	from := r.Path
	if err := errors.Join(checkLinks(p.dir, from), checkLinks(p.dir, to)); err != nil {
		return err
	}
	if err := p.check(from, identity(r.ID), r.Code.Stat); err != nil {
		return err
	}
	if err := rename(p.full(from), p.full(to)); err != nil {
		return err
	}
	delete(p.at, from)
	r.Path = to
	p.at[to] = r
	p.moved(r, from)
	err := p.check(wikiOf(from), wikiIdentity(r.ID), r.Wiki.Stat)
	if err == nil {
		err = rename(p.full(wikiOf(from)), p.full(wikiOf(to)))
	}
	_ = os.Remove(filepath.Dir(p.full(from))) // the owner's, where nothing is left of it
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// check refuses to move what is no mirror of what it is taken for.
func (p *places) check(path, identity string, before barerepo.Stat) error {
	return checkIdentity(&barerepo.Repository{Dir: p.full(path)}, identity, before)
}

func rename(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.Rename(from, to)
}
