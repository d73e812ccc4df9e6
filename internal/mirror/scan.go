package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
)

// Read is what is remembered of the mirrors in a directory, for who changes nothing there. Where that is
// lost, it is what the mirrors themselves tell, as [State.Scanned] says, and log is told why.
func Read(dir string, log *slog.Logger) (*State, error) {
	state, err := StoreOf(dir).Read()
	if err != nil && !errors.Is(err, ErrState) {
		return nil, err
	}
	if err == nil {
		if _, none := os.Lstat(StoreOf(dir).Path); none == nil {
			return state, nil
		}
	}
	paths, failed := scanMirrors(dir, "[^.]*/*.git")
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	if len(paths) == 0 {
		return state, err
	}
	if err == nil {
		err = errors.New("there is no " + filepath.Join(own, filepath.Base(StoreOf(dir).Path)))
	}
	log.Warn("what was remembered of the mirrors is lost; each is taken for what it says itself",
		"directory", dir, "mirrors", len(paths), "error", err)
	state = &State{Installations: map[int64]*Installation{}, Repositories: map[int64]*Record{}, Scanned: true}
	for id, list := range paths {
		state.Repositories[id] = scanned(id, list[0])
	}
	return state, nil
}

// HasMirrors reports whether mirrors are kept in a directory, or were.
func HasMirrors(dir string) bool { return CheckMirrors(dir) == nil }

// CheckMirrors is an error where no mirrors are kept in a directory, and none were.
func CheckMirrors(dir string) error {
	_, err := os.Stat(StoreOf(dir).Path)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	paths, err := scanMirrors(dir, "[^.]*/*.git")
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("nothing is mirrored in %s", dir)
	}
	return err
}

// scanMirrors finds the mirrors of repositories in a directory by GitHub's IDs of them, which the configuration of
// each has. Of several with one ID, that of an earlier pattern comes first, and of one pattern the one whose name
// does not say that it is gone.
func scanMirrors(dir string, patterns ...string) (map[int64][]string, error) {
	paths := map[int64][]string{}
	for _, pattern := range patterns {
		list, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return nil, err
		}
		found := map[int64][]string{}
		for _, path := range list {
			text, err := (&barerepo.Repository{Dir: path}).Identity()
			id, bad := strconv.ParseInt(text, 10, 64)
			if err != nil || bad != nil {
				continue
			}
			below, err := filepath.Rel(dir, path)
			if err != nil {
				return nil, err
			}
			if checkLinks(dir, below) == nil {
				found[id] = append(found[id], below)
			}
		}
		for id, list := range found {
			slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(rank(id, a), rank(id, b)) })
			paths[id] = append(paths[id], list...)
		}
	}
	return paths, nil
}

// rank puts a mirror that is out of the way of another behind those that are not.
func rank(id int64, path string) int {
	if isAside(id, path) {
		return 1
	}
	return 0
}

// aside is what the name of a mirror ends with whose name another repository has by now.
func aside(id int64) string { return ".gone-" + identity(id) + ".git" }

// isAside reports whether a mirror is out of the way of another.
func isAside(id int64, path string) bool { return strings.HasSuffix(path, aside(id)) }

// scanned is what a mirror tells of itself.
func scanned(id int64, path string) *Record {
	r := &Record{ID: id, Path: path}
	name := filepath.ToSlash(path)
	if isAside(id, path) {
		r.Name, r.Gone = strings.TrimSuffix(name, aside(id)), &Gone{Reason: Unlisted}
	} else {
		r.Name = strings.TrimSuffix(name, ".git")
	}
	return r
}

// WikiKept reports whether there is a mirror of the wiki, too.
func (r *Record) WikiKept(dir string) bool {
	if !r.Wiki.ComparedAt.IsZero() {
		return !r.Wiki.Absent
	}
	_, err := os.Lstat(filepath.Join(dir, wikiOf(r.Path)))
	return !errors.Is(err, fs.ErrNotExist)
}
