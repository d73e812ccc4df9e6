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
	// Makeup is what decides, beside the commit, which files it has.
	Makeup string `json:"makeup,omitempty"`
	// Inode is that of its directory, by which a release is known that was exchanged
	// for another.
	Inode uint64 `json:"inode"`
	// Parts are the repositories that it is made of: itself, and its submodules.
	Parts []Part `json:"parts"`
}

// Part is what a release has of one repository.
type Part struct {
	Path   string `json:"path"`   // in the release; "" for itself
	URL    string `json:"url"`    // it was fetched from there
	Commit string `json:"commit"` // of that repository
}

// The values of Release.Exec.
const (
	execPending = "pending"
	execDone    = "done"
	execFailed  = "failed"
)

// ExecFailed reports whether the command after the release has failed and is to be tried
// again.
func (r *Release) ExecFailed() bool { return r.Exec == execFailed }

// ExecPending reports whether the command after the release has not ended yet.
func (r *Release) ExecPending() bool { return r.Exec == execPending }

// The pauses after which a command that failed is tried again: each is twice as long as
// the one before.
const (
	firstPause = 30 * time.Second
	mostPause  = 15 * time.Minute
)

// ExecRetryAt is when the command that has failed is tried again by those who wait.
func (r *Release) ExecRetryAt() time.Time {
	pause := min(firstPause<<min(max(r.ExecFailures-1, 0), 10), mostPause)
	return r.ExecFailedAt.Add(pause)
}

// owe notes that the command after the release is still to run.
func (r *Release) owe() { r.Exec, r.ExecFailures, r.ExecFailedAt = execPending, 0, time.Time{} }

const recordFile = "release.json"

// isID reports whether a name is that of a release.
func isID(name string) bool {
	number, commit, _ := strings.Cut(name, "-")
	return len(number) >= 6 && strings.Trim(number, "0123456789") == "" && commit != "" && strings.Trim(commit, "0123456789abcdef") == ""
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
// and runs no process. The error has the Problem [ErrForeign] where something else is in
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
		return t.linked(op)
	case !info.IsDir():
		return nil, t.problem(ErrForeign, op, "it is a file")
	}
	for {
		there := inode(t.Dir)
		list, err := t.list()
		if err != nil {
			return nil, t.fail(op, err)
		}
		for _, r := range list {
			if r.Inode != there {
				continue
			}
			if t.mode() != Directory {
				return nil, t.problem(ErrForeign, op, "it is a directory that was published with --mode dir")
			}
			return r, nil
		}
		if there == inode(t.Dir) {
			break
		}
		// Another process has published meanwhile; its record was there before.
	}
	if names, err := entries(t.Dir); err != nil || len(names) > 0 {
		return nil, errors.Join(t.problem(ErrForeign, op, "it is a directory with something in it that is not ghapp's"), err)
	}
	return nil, nil
}

// linked is the release that the link leads to.
func (t *Target) linked(op string) (*Release, error) {
	text, err := os.Readlink(t.Dir)
	if err != nil {
		return nil, t.fail(op, err)
	}
	id := filepath.Base(text)
	if text != t.linkText(id) || !isID(id) {
		return nil, t.problem(ErrForeign, op, "it is a symbolic link to %s", text)
	}
	if t.mode() != Link {
		return nil, t.problem(ErrForeign, op, "it is a symbolic link, which was published with --mode link")
	}
	r, err := t.load(id)
	if errors.Is(err, fs.ErrNotExist) || err == nil && inode(t.tree(id)) == 0 {
		return &Release{ID: id}, nil // it was lost; the next one is built as if it were the first
	}
	return r, t.fail(op, err)
}
