package gitauth

import (
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp"
)

// RepositoryOf reads the repository from the path that git or git-lfs asks a
// credential for: owner/name, owner/name.git, owner/name.wiki.git, and below any
// of them /info/lfs and what follows.
func RepositoryOf(path string) (ghapp.RepositoryName, error) {
	for strings.Contains(path, "//") { // whether it serves them is for the server to say
		path = strings.ReplaceAll(path, "//", "/")
	}
	owner, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, below, deeper := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if deeper && below != "info/lfs" && !strings.HasPrefix(below, "info/lfs/") {
		return ghapp.RepositoryName{}, fmt.Errorf("the path %q is not that of a repository", path)
	}
	name = strings.TrimSuffix(name, ".git")
	// A wiki is a repository of its own to git and a part of its repository to
	// GitHub's permissions.
	name = strings.TrimSuffix(name, ".wiki")
	return ghapp.ParseRepository(owner + "/" + name)
}
