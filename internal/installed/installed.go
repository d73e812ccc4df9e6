// Package installed finds the name of a program that is still right tomorrow.
//
// A program knows itself by the file that it was started from. Package managers put that
// file below a directory with the version in its name (Homebrew's Cellar, the store of
// Nix, mise, asdf, /opt/NAME-1.0), remove it with the next version, and keep a link that
// always leads to the present one. What is written into a configuration is that link.
package installed

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Program is a program of this machine.
type Program struct {
	// File is its file, an absolute path without symbolic links.
	File string
	// Invoked is how it was called, such as os.Args[0]; it may be "" or a bare name.
	Invoked string
	// Path is the list of directories in which programs are looked for, as PATH has it.
	Path string
	// Home is the user's home directory, and User the user's name; each may be "".
	Home, User string
}

// Lasting returns the name under which a program of this name, in the directory of the
// file, is to be called tomorrow: an absolute path that leads to the file today, of which
// as little as possible changes with a version. It is "" if no such program is there.
func (p Program) Lasting(name string) string {
	file := filepath.Join(filepath.Dir(p.File), name)
	wanted, err := os.Stat(file)
	if err != nil || wanted.IsDir() {
		return ""
	}
	best := file
	if changing(file) == 0 {
		return best
	}
	for _, dir := range p.directories() {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err == nil && os.SameFile(info, wanted) && changing(path) < changing(best) {
			best = path
		}
	}
	return best
}

// Lasts reports whether nothing in a path looks like a version, which the next one would
// not have.
func Lasts(path string) bool { return path != "" && changing(path) == 0 }

// directories are those in which a link to the program may be, the likeliest first.
func (p Program) directories() []string {
	var list []string
	add := func(dirs ...string) {
		for _, dir := range dirs {
			if filepath.IsAbs(dir) && !slices.Contains(list, filepath.Clean(dir)) {
				list = append(list, filepath.Clean(dir))
			}
		}
	}
	if strings.ContainsRune(filepath.ToSlash(p.Invoked), '/') {
		if path, err := filepath.Abs(p.Invoked); err == nil {
			add(filepath.Dir(path))
		}
	}
	add(filepath.SplitList(p.Path)...)
	add(beside(filepath.Dir(p.File))...)
	if p.Home != "" {
		add(filepath.Join(p.Home, ".local", "bin"), filepath.Join(p.Home, "bin"))
	}
	if strings.HasPrefix(filepath.ToSlash(p.File), "/nix/store/") {
		if p.Home != "" {
			add(filepath.Join(p.Home, ".nix-profile", "bin"), filepath.Join(p.Home, ".local", "state", "nix", "profile", "bin"))
		}
		if p.User != "" {
			add("/etc/profiles/per-user/" + p.User + "/bin")
		}
		add("/run/current-system/sw/bin", "/nix/var/nix/profiles/default/bin")
	}
	add("/usr/local/bin", "/usr/bin")
	return list
}

// mostLinks bounds the entries that are looked at beside one directory.
const mostLinks = 1000

// beside returns the directories that are dir under another name because a link stands
// beside one of its parents: /opt/ghapp/bin of /opt/ghapp-1.0/bin, where /opt/ghapp leads
// to /opt/ghapp-1.0. Of Homebrew's PREFIX/Cellar/NAME/VERSION/bin these are PREFIX/bin,
// which has links to the programs, and PREFIX/opt/NAME/bin.
func beside(dir string) []string {
	var list []string
	for part := dir; ; part = filepath.Dir(part) {
		parent := filepath.Dir(part)
		if parent == part {
			return list
		}
		below, err := filepath.Rel(part, dir)
		if err != nil {
			return list
		}
		if filepath.Base(filepath.Dir(parent)) == "Cellar" {
			prefix := filepath.Dir(filepath.Dir(parent))
			list = append(list, filepath.Join(prefix, "bin"), filepath.Join(prefix, "opt", filepath.Base(parent), below))
		}
		if changing(filepath.Base(part)) == 0 {
			continue // it has no version in it, and need no other name
		}
		own, err := os.Stat(part)
		if err != nil {
			continue
		}
		for _, name := range links(parent) {
			path := filepath.Join(parent, name)
			if info, err := os.Stat(path); err == nil && os.SameFile(info, own) && !others(path) {
				list = append(list, filepath.Join(path, below))
			}
		}
	}
}

// links are the names of the symbolic links in a directory.
func links(dir string) []string {
	opened, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer opened.Close()
	entries, _ := opened.ReadDir(mostLinks) // what could be read of it is looked at
	var names []string
	for _, entry := range entries {
		if entry.Type()&(os.ModeSymlink|os.ModeIrregular) != 0 { // a junction of Windows is irregular
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names
}

// versioned matches a part of a path that is a version or has one in it: 1, 1.0.0, v2,
// ghapp-1.0, or HASH-ghapp-1.0 in the store of Nix.
var versioned = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^v?[0-9]+$|[0-9]\.[0-9]|[-_@]v?[0-9]+$|^[0-9a-z]{32}-`)
})

// changing counts what of a path changes with a version: its parts that have one, and
// the digits in them. So latest is better than 1, and 1 better than 1.0.
func changing(path string) int {
	count := 0
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if !versioned().MatchString(part) {
			continue
		}
		count++
		for _, r := range part {
			if r >= '0' && r <= '9' {
				count++
			}
		}
	}
	return count
}

// Keeper names the package manager that takes a file away with the next version of its program,
// by the directory that the file is in. It is "" where none is known to.
func Keeper(path string) string {
	path = filepath.ToSlash(path)
	if strings.HasPrefix(path, "/nix/store/") {
		return "Nix"
	}
	parts := strings.Split(path, "/")
	for i := 0; i+3 < len(parts); i++ { // the directory, NAME, VERSION and the file
		if changing(parts[i+2]) == 0 {
			continue
		}
		switch parts[i] {
		case "Cellar":
			return "Homebrew"
		case "installs":
			return "mise, or asdf,"
		}
	}
	return ""
}
