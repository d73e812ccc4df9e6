package mirror

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Found is a mirror that was looked for.
type Found struct {
	ID   int64
	Name string // owner/name, as GitHub last had it
	Wiki bool
	Host string // "": nothing is remembered of it
	Dir  string // where it is
	Gone *Gone  // nil: it is kept up to date
	// Former are names that the repository had before.
	Former []string

	history barerepo.Remembered
	root    string // the directory of the mirrors; "": it is none of them
}

// Find looks for a mirror by the name of its repository, a name that it had before, its address, or
// GitHub's ID of it, among those that are gone too. Of two that were named so, the one counts that
// is named so now, and then the one that is there. Nothing is asked of GitHub. log is told where
// nothing is remembered of the mirrors, as [Read] does.
func Find(dir, word string, log *slog.Logger) (*Found, error) {
	state, err := Read(dir, log)
	if err != nil {
		return nil, err
	}
	return find(dir, word, state)
}

// find is [Find] with what is remembered.
func find(dir, word string, state *State) (*Found, error) {
	if id, err := strconv.ParseInt(word, 10, 64); err == nil {
		if r := state.Repositories[id]; r != nil && r.Path != "" {
			return found(dir, state.Host, r, false), nil
		}
		return nil, noMirror(dir, word)
	}
	name, err := ghapp.ParseRepository(word)
	if err != nil {
		return nil, err
	}
	wiki := name.Wiki
	name.Wiki = false
	list := namesakes(state, name.String())
	switch {
	case len(list) == 1:
		return found(dir, state.Host, list[0], wiki), nil
	case len(list) > 1:
		return nil, ambiguous(word, list)
	}
	return stray(dir, name.String(), wiki, noMirror(dir, word))
}

// FindAll finds the mirrors of some repositories, as [Find] does, or all that there are, by ID.
func FindAll(dir string, words []string, log *slog.Logger) ([]*Found, error) {
	state, err := Read(dir, log)
	if err != nil {
		return nil, err
	}
	var list []*Found
	for _, word := range words {
		f, err := find(dir, word, state)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	if len(words) > 0 {
		return list, nil
	}
	for _, id := range slices.Sorted(maps.Keys(state.Repositories)) {
		r := state.Repositories[id]
		if r.Path == "" {
			continue
		}
		list = append(list, found(dir, state.Host, r, false))
		if r.WikiKept(dir) {
			list = append(list, found(dir, state.Host, r, true))
		}
	}
	return list, nil
}

// namesakes are the mirrors that a name is likeliest to mean.
func namesakes(state *State, name string) []*Record {
	var ranks [3][]*Record
	for _, r := range state.Repositories {
		former := slices.ContainsFunc(r.Former, func(n string) bool { return strings.EqualFold(n, name) })
		switch is := strings.EqualFold(r.Name, name); {
		case r.Path == "":
		case is && r.Gone == nil:
			ranks[0] = append(ranks[0], r)
		case is:
			ranks[1] = append(ranks[1], r)
		case former:
			ranks[2] = append(ranks[2], r)
		}
	}
	for _, list := range ranks {
		if len(list) > 0 {
			slices.SortFunc(list, func(a, b *Record) int { return cmp.Compare(a.ID, b.ID) })
			return list
		}
	}
	return nil
}

func found(dir, host string, r *Record, wiki bool) *Found {
	path, c := r.Path, &r.Code
	if wiki {
		path, c = wikiOf(path), &r.Wiki
	}
	return &Found{
		ID: r.ID, Name: r.Name, Wiki: wiki, Host: host, Dir: filepath.Join(dir, path), Gone: r.Gone, Former: r.Former,
		root: dir, history: c.remembered(),
	}
}

// stray is a mirror of which nothing is remembered, since what was is lost.
func stray(dir, name string, wiki bool, none error) (*Found, error) {
	path := filepath.FromSlash(name) + ".git"
	f := &Found{Name: name, Wiki: wiki, Dir: filepath.Join(dir, path), root: dir}
	if wiki {
		f.Dir = filepath.Join(dir, wikiOf(path))
	}
	text, err := (&barerepo.Repository{Dir: f.Dir}).Identity()
	if err != nil {
		return nil, none
	}
	if f.ID, err = strconv.ParseInt(strings.TrimSuffix(text, "/wiki"), 10, 64); err != nil {
		return nil, none
	}
	return f, nil
}

// NoMirrorError is a repository of which a directory has no mirror.
type NoMirrorError struct{ Dir, Word string }

// Error is one line.
func (e *NoMirrorError) Error() string { return fmt.Sprintf("%s has no mirror of %q", e.Dir, e.Word) }

func noMirror(dir, word string) error {
	if _, err := os.Stat(dir); err != nil {
		return &fault.UsageError{Err: fmt.Errorf("there is no directory %s", dir),
			Hint: "name the directory of the mirrors, or a mirror of the config file"}
	}
	return &fault.ExitError{Code: fault.Usage, Err: &NoMirrorError{dir, word},
		Hint: "`ghapp mirror list " + text.ShellWord(dir) + "` lists them, with their IDs; " +
			"names that a repository had before do as well"}
}

func ambiguous(word string, list []*Record) error {
	var ids []string
	for _, r := range list {
		ids = append(ids, strconv.FormatInt(r.ID, 10))
	}
	return &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("%d repositories were named %q", len(list), word),
		Hint: "name the one you mean by its ID: " + strings.Join(ids, ", ")}
}
