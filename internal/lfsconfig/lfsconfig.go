// Package lfsconfig finds the .lfsconfig of the work tree that git works in
// (git-lfs-config(5)), in which a repository may say that its large files are stored with
// another one.
//
// git-lfs asks for a credential under the address of the repository itself, and uses it for
// the store: so what answers it has to look. It is linked into the small helper, and
// imports little.
package lfsconfig

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
)

// most bounds what is read, in bytes.
const most = 64 << 10

// Name is the file's name, at the top of a work tree.
const Name = ".lfsconfig"

// Near returns the path of the file, if it may name an address, where git works in dir with
// this environment; "" where there is none.
func Near(dir string, lookup func(string) (string, bool)) string {
	top, given := lookup("GIT_WORK_TREE")
	if !given || top == "" {
		_, repository := lookup("GIT_DIR")
		if top = dir; !repository {
			if top = above(dir); top == "" {
				return ""
			}
		}
	} else if !filepath.IsAbs(top) {
		top = filepath.Join(dir, top)
	}
	path := filepath.Join(top, Name)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil || !bytes.Contains(bytes.ToLower(text), []byte("url")) {
		return ""
	}
	return path
}

// above is the directory from dir up that has a .git in it, or "".
func above(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}
