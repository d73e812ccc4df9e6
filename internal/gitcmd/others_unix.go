//go:build unix

package gitcmd

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/private"
)

// mostEntries bounds how much of a template is looked at.
const mostEntries = 10_000

// ofOthers says why users other than this one and root have a say in a directory, or "" if
// they have none: it, something on the way to it or (within) below it belongs to one of
// them, or lets them write. What is not there is nobody's.
func ofOthers(dir string, within bool) string {
	if err := othersIn(dir, within); err != nil {
		return err.Error()
	}
	return ""
}

func othersIn(dir string, within bool) error {
	path, err := filepath.Abs(dir)
	if err == nil {
		err = private.Way(path)
	}
	if err != nil {
		return err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ignoreAbsent(err)
	}
	if !within {
		info, err := os.Lstat(path)
		if err != nil {
			return ignoreAbsent(err)
		}
		return errors.Join(private.Closed(path, info), othersInAlternates(path))
	}
	left := mostEntries
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if left--; left < 0 {
			return errors.New("it holds too much to look at: " + path)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return private.Closed(name, info)
	})
}

// othersInAlternates looks at the stores that a repository borrows objects from
// (gitrepository-layout(5), objects/info/alternates).
func othersInAlternates(repository string) error {
	for _, objects := range []string{filepath.Join(repository, "objects"), filepath.Join(repository, ".git", "objects")} {
		file, err := os.Open(filepath.Join(objects, "info", "alternates"))
		if err != nil {
			continue // git finds out whether there is one
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			to := lines.Text()
			if to == "" || to[0] == '#' {
				continue
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(objects, to)
			}
			if err := private.Way(to); err != nil {
				return err
			}
		}
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
