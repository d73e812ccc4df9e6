package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
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

// isOurHelper reports whether a helper is ghapp and is led to no other settings than those
// that are examined.
func (p plainGit) isOurHelper(line string) bool {
	words, ok := shellWords(strings.TrimPrefix(line, "!"))
	if !ok {
		return false
	}
	program, flags := words[0], words[1:]
	switch {
	case strings.HasPrefix(line, "!"):
		if len(flags) > 0 && flags[0] == "credential" {
			flags = flags[1:]
		}
	case program == "ghapp": // git looks for git-credential-ghapp on its PATH
		program = ""
	}
	if program != "" && !p.isOurs(program) {
		return false
	}
	if len(flags)%2 != 0 {
		return false
	}
	host, apiURL := p.settings.Host.Text, p.settings.APIURL.Text
	for pair := range slices.Chunk(flags, 2) {
		value := pair[1]
		switch pair[0] {
		case "--config":
			if !p.isConfigFile(value) {
				return false
			}
		case "--key":
			if keyuri.FilePath(value) == "" && value != p.settings.Key.Text {
				return false
			}
		case "--ca-file":
			if value != p.settings.CAFile.Text {
				return false
			}
		case "--host":
			host = value
		case "--api-url":
			apiURL = value
		case "--app", "--installation", "--api-version", "--key-timeout":
		default:
			return false
		}
	}
	reached, err := api.ParseHost(host, apiURL)
	return err == nil && reached.Origin == p.origin && reached.API == p.api
}

// isOurs reports whether a path leads to this program, or to the helper that is beside it or
// on PATH. A path that leads nowhere is ours: git finds no program there, and says so.
func (p plainGit) isOurs(program string) bool {
	if !filepath.IsAbs(program) {
		return false
	}
	named, err := os.Stat(program)
	if err != nil {
		return os.IsNotExist(err) && runtime.GOOS != "windows" // where .exe may be left out
	}
	var ours []string
	if self, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(self); err == nil {
			self = resolved
		}
		ending := ""
		if runtime.GOOS == "windows" {
			ending = ".exe"
		}
		ours = append(ours, self, filepath.Join(filepath.Dir(self), "git-credential-ghapp"+ending))
	}
	for _, name := range []string{"ghapp", "git-credential-ghapp"} {
		if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
			ours = append(ours, path)
		}
	}
	return slices.ContainsFunc(ours, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && os.SameFile(info, named)
	})
}

// isConfigFile reports whether a path is that of the file which the doctor has read, or of the
// one that is read where none is named.
func (p plainGit) isConfigFile(path string) bool {
	if loaded, _ := p.x.loaded.Path(); path == loaded.Text {
		return true
	}
	usual, err := config.Path(config.Options{LookupEnv: func(name string) (string, bool) {
		if name == "GHAPP_CONFIG" {
			return "", false
		}
		return p.x.lookup(name)
	}})
	return err == nil && path == usual.Text
}

// shellWords takes apart what [text.ShellWords] has put together, and nothing else.
func shellWords(line string) ([]string, bool) {
	var words []string
	var word strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
			word.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	words = append(words, word.String())
	return words, !quoted && text.ShellWords(words...) == line
}
