package deploy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/spelling"
)

// missing returns an error for the first of the sparse paths that a commit has nothing
// at. entries are all that it has, in the order of an index.
func missing(sparse []string, entries []entry) error {
	for _, wanted := range sparse {
		wanted = strings.TrimSuffix(wanted, "/")
		if has(entries, wanted) {
			continue
		}
		err := fmt.Errorf("the commit has no %q; %s", wanted, nearest(wanted, entries))
		for dir := path.Dir(wanted); dir != "."; dir = path.Dir(dir) {
			if at, found := find(entries, dir); found && entries[at].mode == modeSubmodule {
				err = fmt.Errorf("%q lies in the submodule %q, which can be had only whole", wanted, dir)
			}
		}
		return err
	}
	return nil
}

// find is where the entry of a path is, or would be.
func find(entries []entry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e entry, name string) int { return strings.Compare(e.path, name) })
}

// has reports whether a path is that of an entry, or of a directory with one.
func has(entries []entry, name string) bool {
	if _, found := find(entries, name); found {
		return true
	}
	at, _ := find(entries, name+"/")
	return at < len(entries) && strings.HasPrefix(entries[at].path, name+"/")
}

// nearest says what a commit has near a path: the name that was probably meant, or else
// the directory that there is, or what is at the top.
func nearest(wanted string, entries []entry) string {
	dir, rest := ".", wanted
	for {
		first, more, deeper := strings.Cut(rest, "/")
		if next := path.Join(dir, first); deeper && has(entries, next) {
			dir, rest = next, more
			continue
		}
		rest = first
		break
	}
	var names []string
	for _, e := range entries {
		below, inside := strings.CutPrefix(e.path, dir+"/")
		if dir == "." {
			below, inside = e.path, true
		}
		name, _, _ := strings.Cut(below, "/")
		if inside && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	const most = 5
	switch name := spelling.Nearest(rest, names); {
	case name != "":
		return fmt.Sprintf("the nearest is %q", path.Join(dir, name))
	case dir != ".":
		return fmt.Sprintf("the nearest is %q", dir)
	case len(names) > most:
		return fmt.Sprintf("it has %q and %d more", names[:most], len(names)-most)
	}
	return fmt.Sprintf("it has %q", names)
}
