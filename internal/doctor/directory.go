package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// A directory may come from a stranger: an unpacked archive with a .git in it, or a clone that
// has a bare repository among its files. Plain git does what the configuration there says, and
// that can name programs, proxies and helpers. The doctor, which people run to look at what is
// wrong, has plain git run there only where nothing is configured but what leads nowhere.

// untried is why plain git is not to be run in this directory, or "".
func (p plainGit) untried(entries []gitsetup.Entry) string {
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return "not tried: this directory cannot be found"
	}
	if inBare(here) {
		return "not tried: this directory is in a repository without a work tree"
	}
	for _, e := range entries {
		users := e.Scope == gitsetup.System || e.Scope == gitsetup.Global || e.Scope == gitsetup.Command
		if !users && !p.leadsNowhere(e) {
			return "not tried: this directory's configuration has " + text.Shorten(gitsetup.Shown(e.Key), 200) +
				"; `git ls-remote origin` tries it"
		}
	}
	return ""
}

// inBare reports whether git would, on its way up from dir, meet a repository that is no .git
// of a work tree. Since 2.38 git itself can be told not to use one
// (https://git-scm.com/docs/git-config#Documentation/git-config.txt-safebareRepository).
func inBare(dir string) bool {
	has := func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	}
	for ; ; dir = filepath.Dir(dir) {
		if has("HEAD") && (has("commondir") || has("objects") && has("refs")) {
			return true
		}
		if has(".git") || dir == filepath.Dir(dir) {
			return false
		}
	}
}

// leadsNowhere reports whether an entry of a repository's own configuration neither names a
// program nor changes where git goes and what it says there.
func (p plainGit) leadsNowhere(e gitsetup.Entry) bool {
	section, rest, _ := strings.Cut(e.Key, ".")
	dot := strings.LastIndexByte(rest, '.')
	subsection, variable := rest[:max(dot, 0)], rest[dot+1:]
	among := func(names ...string) bool { return slices.Contains(names, variable) }
	switch section {
	case "core":
		return subsection == "" && among("repositoryformatversion", "filemode", "bare", "logallrefupdates",
			"ignorecase", "precomposeunicode", "symlinks", "worktree", "autocrlf", "eol", "sparsecheckout", "sparsecheckoutcone")
	case "extensions", "user", "branch":
		return true // an argument of ls-remote says which remote is meant
	case "pull":
		return true
	case "push":
		return among("default", "autosetupremote")
	case "submodule":
		return among("url", "active")
	case "lfs":
		return e.Key == "lfs.repositoryformatversion" || subsection != "" && among("access")
	case "remote":
		if among("url") {
			return strings.HasPrefix(e.Value, p.origin+"/")
		}
		return among("fetch", "promisor", "partialclonefilter", "tagopt")
	case "http":
		if subsection != p.origin && !strings.HasPrefix(subsection, p.origin+"/") {
			return false
		}
		if among("sslcainfo") { // an authority of another's choice can answer in the host's place
			return e.Value == p.settings.CAFile.Text
		}
		return among("schannelusesslcainfo", "proactiveauth")
	case "credential":
		if subsection != p.origin {
			return false
		}
		return among("usehttppath") || among("helper") && (e.Value == "" || p.isOurHelper(e.Value))
	}
	return false
}
