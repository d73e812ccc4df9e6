//go:build unix

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Release is the files of a commit, built once.
type Release struct {
	ID         string    `json:"id"` // a number that grows, and the beginning of the commit
	Repository string    `json:"repository"`
	Ref        string    `json:"ref"` // "" where an exact commit was wanted
	Commit     string    `json:"commit"`
	Previous   string    `json:"previous"` // the commit published before it; "" for the first
	BuiltAt    time.Time `json:"built_at"`
	// PublishedAt is when it was put into its place the last time.
	PublishedAt time.Time `json:"published_at"`
	// Held are commits that are not to be published while this one is: somebody has
	// rolled back from them.
	Held      []string  `json:"held,omitempty"`
	HeldSince time.Time `json:"held_since,omitzero"`
	// Exec is what became of the command after it: "", pending, done or failed.
	Exec string `json:"exec,omitempty"`
	// ExecFailures is how often in a row that command has failed, and ExecFailedAt when it
	// did so last.
	ExecFailures int       `json:"exec_failures,omitempty"`
	ExecFailedAt time.Time `json:"exec_failed_at,omitzero"`
	// ExecCommand is the command line that ended so, and ExecError why it failed.
	ExecCommand string `json:"exec_command,omitempty"`
	ExecError   string `json:"exec_error,omitempty"`
	// Makeup is what decides, beside the commit, which files it has.
	BuildOptions string `json:"build_options,omitempty"`
	// Check is the command line that it has passed; "" where there was none.
	Check string `json:"check,omitempty"`
	// Inode is that of its directory, and tells at once which release Dir is; 0 where Dir is a
	// link. It does not outlive a copy of everything to another disk.
	Inode uint64 `json:"inode,omitzero"`
	// Exchange is the release whose place this one is just taking ("-": that of none), as
	// long as it is not said that this is done.
	Exchange string `json:"exchange,omitempty"`
	// Parts are the repositories that it is made of: itself, and its submodules.
	Parts []Part `json:"parts"`
}

// Part is what a release has of one repository.
type Part struct {
	Path   string `json:"path"`   // in the release; "" for itself
	URL    string `json:"url"`    // it was fetched from there
	Commit string `json:"commit"` // of that repository
}

// noRelease is the Exchange of a release that takes the place of none.
const noRelease = "-"

const recordFile = "release.json"

// isID reports whether a name is that of a release.
func isID(name string) bool {
	number, commit, _ := strings.Cut(name, "-")
	return len(number) >= 6 && strings.Trim(number, "0123456789") == "" &&
		commit != "" && strings.Trim(commit, "0123456789abcdef") == ""
}

// indexFile is git's index of a part.
func (t *Target) indexFile(id string, part int) string {
	return filepath.Join(t.record(id), "index."+strconv.Itoa(part))
}

// list are the releases whose record is complete, the oldest first.
func (t *Target) list() ([]*Release, error) {
	names, err := entries(t.records())
	if err != nil {
		return nil, err
	}
	var list []*Release
	for _, name := range names {
		r, err := t.load(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Release) int { return a.number() - b.number() })
	return list, nil
}

// number is the first half of the ID.
func (r *Release) number() int {
	digits, _, _ := strings.Cut(r.ID, "-")
	n, _ := strconv.Atoi(digits)
	return n
}

// named reports whether a text is the ID, or its number, with or without the zeros before that and
// a part of the commit after it.
func (r *Release) named(text string) bool {
	digits, commit, _ := strings.Cut(text, "-")
	n, err := strconv.Atoi(digits)
	_, own, _ := strings.Cut(r.ID, "-")
	return err == nil && n == r.number() && strings.HasPrefix(own, commit)
}

// load reads the record of a release. The error is [fs.ErrNotExist] where there is none
// that is complete.
func (t *Target) load(id string) (*Release, error) {
	if !isID(id) {
		return nil, fs.ErrNotExist
	}
	data, err := os.ReadFile(filepath.Join(t.record(id), recordFile))
	if err != nil {
		return nil, err
	}
	var r Release
	if json.Unmarshal(data, &r) != nil || r.ID != id {
		return nil, fs.ErrNotExist
	}
	return &r, nil
}

func (t *Target) save(r *Release) error {
	return replaceJSON(filepath.Join(t.record(r.ID), recordFile), r)
}

// nextID is the name of a new release. It has a number, as the machine's clock may jump.
func (t *Target) nextID(commit string) (string, error) {
	last := 0
	for _, dir := range []string{t.records(), t.releases()} {
		names, err := entries(dir)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			last = max(last, (&Release{ID: name}).number())
		}
	}
	return fmt.Sprintf("%06d-%s", last+1, short(commit)), nil
}

// Published is the release that Dir shows, or nil where there is none. It takes no lock
// and runs no process. The error has the Problem [ErrForeign] or [ErrOtherMode] where something else is in
// its place.
func (t *Target) Published() (*Release, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	const op = "look at"
	info, err := os.Lstat(t.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, t.fail(op, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return t.releaseOfLink(op)
	case !info.IsDir():
		return nil, t.problem(ErrForeign, op, "it is a file")
	}
	r, err := t.releaseOfDirectory()
	switch {
	case err != nil:
		return nil, t.fail(op, err)
	case r != nil && t.mode() != Directory:
		return nil, t.problem(ErrOtherMode, op, "it is a directory, of --mode dir")
	case r != nil:
		return r, nil
	}
	if names, err := entries(t.Dir); err != nil || len(names) > 0 {
		return nil, errors.Join(t.problem(ErrForeign, op, "it is a directory with something in it that is not ghapp's"), err)
	}
	return nil, nil
}

// releaseOfDirectory is the release that Dir itself is, or nil.
//
// What says so travels with the directory: a release is known by its record, and all of
// them are under their names in releases/, but for the one that is Dir. While two are
// exchanged that is not so, and then, and where something else may have been put there,
// the number of the inode decides, or else what is in the files.
func (t *Target) releaseOfDirectory() (*Release, error) {
	for {
		there := inode(t.Dir)
		list, err := t.list()
		if err != nil {
			return nil, err
		}
		r, err := t.identify(list, there)
		if now := inode(t.Dir); now != there {
			continue // another process has published meanwhile; its record was there before
		}
		return r, err
	}
}

// identify is the release of a list that Dir is, whose inode is there.
func (t *Target) identify(list []*Release, there uint64) (*Release, error) {
	var candidates []*Release
	for _, r := range list {
		aside := inode(t.tree(r.ID))
		switch {
		case r.Exchange != "" && r.Inode == there:
			return r, nil
		case r.Exchange != "" && aside != 0 && aside != r.Inode:
			candidates = append(candidates, r) // what lies there may be the one before
		case aside == 0 && r.Inode == there:
			return r, nil
		case aside == 0:
			candidates = append(candidates, r)
		}
	}
	if len(candidates) == 0 || exists(filepath.Join(t.Dir, ".git")) {
		return nil, nil // somebody's clone is no release, whatever is in it
	}
	var best *Release
	most := 0.5 // of its files: programs may have written to some since
	for _, r := range candidates {
		files, err := t.contents(r.ID)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if share := similarity(t.Dir, files); share > most {
			best, most = r, share
		}
	}
	return best, nil
}

// location is where the files of a release are.
func (t *Target) location(r *Release) string {
	if tree := t.tree(r.ID); t.mode() != Directory || exists(tree) {
		return tree
	}
	return t.Dir
}

// releaseOfLink is the release that the link leads to.
func (t *Target) releaseOfLink(op string) (*Release, error) {
	text, err := os.Readlink(t.Dir)
	if err != nil {
		return nil, t.fail(op, err)
	}
	id := filepath.Base(text)
	if text != t.linkText(id) || !isID(id) {
		return nil, t.problem(ErrForeign, op, "it is a symbolic link to %s", text)
	}
	if t.mode() != Link {
		return nil, t.problem(ErrOtherMode, op, "it is a symbolic link, of --mode link")
	}
	r, err := t.load(id)
	if errors.Is(err, fs.ErrNotExist) || err == nil && inode(t.tree(id)) == 0 {
		return t.lostRelease(id), nil
	}
	return r, t.fail(op, err)
}
