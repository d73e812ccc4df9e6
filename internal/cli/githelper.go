package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/installed"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// helperCommand is the credential helper as git's configuration names it: the program
// beside this one, or this one itself. It is an absolute path, which needs no PATH, and
// where there is a choice the one that the next version of ghapp has as well.
func (c *command) helperCommand() string {
	file, err := os.Executable()
	if err != nil {
		return "ghapp" // git looks for git-credential-ghapp on its PATH
	}
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	self := installed.Program{File: file, Invoked: os.Args[0], Home: c.home()}
	self.Path, _ = c.lookup("PATH")
	self.User, _ = c.lookup("USER")
	ending := ""
	if runtime.GOOS == "windows" {
		ending = ".exe"
	}
	helper, lasting := self.Lasting("git-credential-ghapp"+ending), self.Lasting(filepath.Base(file))
	if _, err := exec.LookPath(helper); helper != "" && err == nil && (installed.Lasts(helper) || !installed.Lasts(lasting)) {
		return shellPath(helper)
	}
	if lasting != "" {
		file = lasting
	}
	return "!" + text.ShellWord(filepath.ToSlash(file)) + " credential"
}

// sessionHelper is the credential helper for a call of git that ghapp waits for. The
// shell that git starts for it answers store by itself: after every success git says
// which credential worked, and we know.
func (c *command) sessionHelper() string {
	helper := c.helperCommand()
	if !strings.Contains(helper, "/") {
		return helper
	}
	return `!f() { test "$1" = store || exec ` + strings.TrimPrefix(helper, "!") + ` "$1"; }; f`
}

// shellPath is an absolute path as git runs it, through a shell where it has
// anything but plain characters.
func shellPath(path string) string {
	path = filepath.ToSlash(path)
	if quoted := text.ShellWord(path); quoted != path {
		return "!" + quoted
	}
	return path
}

// persistentHelper names the helper in a clone so that it finds the same App
// tomorrow: what flags and variables said is written out, since they will be gone.
func (c *command) persistentHelper(s config.AppSettings) string {
	helper := c.helperCommand()
	add := func(flag string, v config.Value) {
		if v.Source.Kind >= config.FromEnvironment && !v.HasSecret() {
			helper += " --" + flag + " " + text.ShellWord(v.Text)
		}
	}
	loaded, err := c.load()
	if err == nil {
		path, _ := loaded.Path()
		add("config", path)
	}
	if s.Name != "" && c.chosen("app") {
		helper += " --app " + text.ShellWord(s.Name)
	}
	add("app", s.App)
	for _, key := range []config.Value{s.Key, s.PreviousKey} {
		add("key", key)
	}
	add("key-timeout", s.KeyTimeout)
	add("installation", s.Installation)
	add("host", s.Host)
	add("api-url", s.APIURL)
	add("api-version", s.APIVersion)
	add("ca-file", s.CAFile)
	return helper
}

// chosen reports whether a flag or its variable says something.
func (c *command) chosen(flag string) bool {
	if _, given := c.givenFlags()[flag]; given {
		return true
	}
	return slices.ContainsFunc(config.Settings(), func(s config.Setting) bool {
		text, _ := c.lookup(s.Env)
		return s.Flag == flag && text != ""
	})
}

// onlyInEnvironment is the variable that git's configuration must not repeat: it holds
// the key, or a PIN. It is "" where there is none.
func onlyInEnvironment(s config.AppSettings) string {
	switch {
	case !s.PrivateKey.IsZero():
		return s.PrivateKeySource.String()
	case s.Key.HasSecret() && s.Key.Source.Kind == config.FromEnvironment:
		return s.Key.Source.String()
	}
	return ""
}
