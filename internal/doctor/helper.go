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
	"github.com/ghapp-dev/ghapp/internal/installed"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// helperLine is a credential helper of git's configuration, as ghapp writes one: a program and
// flags with a value each.
type helperLine struct {
	program string // empty: git looks for git-credential-ghapp on its PATH
	flags   []string
}

// parseHelper takes a line apart. It is false for one that ghapp does not write.
func parseHelper(line string) (helperLine, bool) {
	command, ofShell := strings.CutPrefix(line, "!")
	words, ok := shellWords(command)
	if !ok {
		return helperLine{}, false
	}
	h := helperLine{program: words[0], flags: words[1:]}
	switch {
	case ofShell && len(h.flags) > 0 && h.flags[0] == "credential":
		h.flags = h.flags[1:]
	case !ofShell && h.program == "ghapp":
		h.program = ""
	}
	return h, len(h.flags)%2 == 0
}

// ofHelper is what is wrong with the program that an entry names as the helper for an origin, or
// a Conflict without a Text. It need not be the entry that git asks in the end.
func ofHelper(e gitsetup.Entry) gitsetup.Conflict {
	c := gitsetup.Conflict{File: e.File, Key: gitsetup.Shown(e.Key)}
	if file, err := os.ReadFile(e.File); e.File != "" && err == nil {
		c.Line = gitsetup.LineOf(file, e)
	}
	h, ok := parseHelper(e.Value)
	if !ok || !filepath.IsAbs(h.program) {
		return c
	}
	shown := text.Shorten(h.program, 200)
	if _, err := exec.LookPath(h.program); err != nil {
		c.Text, c.Hint = "no program is at "+shown+", which git is to ask", pointAnew(e.Scope)
	} else if keeper := installed.Keeper(h.program); keeper != "" {
		c.Text, c.Beside = keeper+" takes "+shown+" away with the next version of ghapp", true
		c.Hint = "link ghapp and git-credential-ghapp into a directory that stays, such as /usr/local/bin; then " +
			pointAnew(e.Scope)
	}
	return c
}

// pointAnew is how an entry is written anew, with where the program stands now.
func pointAnew(scope gitsetup.Scope) string {
	switch scope {
	case gitsetup.Local, gitsetup.Worktree:
		return "`ghapp git-setup --local` in this directory points it anew"
	case gitsetup.System:
		return "`ghapp git-setup --system` points git anew"
	case gitsetup.Command:
		return "look at what sets GIT_CONFIG_COUNT or GIT_CONFIG_PARAMETERS"
	}
	return "`ghapp git-setup` points git anew"
}

// isOurHelper reports whether a helper is ghapp and is led to no other settings than those
// that are examined.
func (p plainGit) isOurHelper(line string) bool {
	h, ok := parseHelper(line)
	if !ok || h.program != "" && !p.isOurs(h.program) {
		return false
	}
	host, apiURL := p.settings.Host.Text, p.settings.APIURL.Text
	for pair := range slices.Chunk(h.flags, 2) {
		switch flag, value := pair[0], pair[1]; flag {
		case "--host":
			host = value
		case "--api-url":
			apiURL = value
		default:
			if !p.isExamined(flag, value) {
				return false
			}
		}
	}
	reached, err := api.ParseHost(host, apiURL)
	return err == nil && reached.Origin == p.origin && reached.API == p.api
}

// isExamined reports whether a helper's flag leads to nothing but what the doctor has read.
func (p plainGit) isExamined(flag, value string) bool {
	switch flag {
	case "--config":
		return p.isConfigFile(value)
	case "--key":
		return keyuri.FilePath(value) != "" || value == p.settings.Key.Text
	case "--ca-file":
		return value == p.settings.CAFile.Text
	case "--app", "--installation", "--api-version", "--key-timeout":
		return true
	}
	return false
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
