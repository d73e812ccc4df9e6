package barerepo

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
)

// Stat is what the file system says of the files and directories that tell what a repository has, by their
// names in it. Where it is another, somebody else may have changed the repository.
type Stat map[string]string

// Stat looks at the repository. No file is opened, and no process is started.
func (r *Repository) Stat() Stat {
	s := Stat{}
	for _, name := range []string{
		"HEAD", "config", "packed-refs", JournalName, "refs", "refs/heads", "refs/tags", "objects/pack",
	} {
		info, err := os.Lstat(r.path(filepath.FromSlash(name)))
		if err != nil {
			continue
		}
		s[name] = strconv.FormatInt(info.ModTime().UnixNano(), 36)
		if !info.IsDir() { // of directories it depends on the file system
			s[name] += " " + strconv.FormatInt(info.Size(), 36)
		}
	}
	return s
}

// Equal reports whether nothing seems to have changed.
func (s Stat) Equal(other Stat) bool { return maps.Equal(s, other) }

// Akin reports whether two are of the same repository, though some of it may be damaged: a file of what
// its refs are is the same in both.
func (s Stat) Akin(other Stat) bool {
	for _, name := range []string{"HEAD", "packed-refs", JournalName} {
		if is, there := s[name]; there && is == other[name] {
			return true
		}
	}
	return false
}

// Lacks returns a file without which a repository is none, or not whole, and which has gone since; "": none
// has.
func (s Stat) Lacks(before Stat) string {
	for _, name := range []string{"HEAD", "config", "packed-refs", JournalName, "objects/pack"} {
		_, was := before[name]
		if _, is := s[name]; was && !is {
			return name
		}
	}
	return ""
}
