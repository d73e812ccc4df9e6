package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/installed"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
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

// helperBeside is [command.helperCommand] for as long as this process runs: the program
// beside this one, whatever becomes of that tomorrow, so that nobody looks for its lasting
// name.
func (c *command) helperBeside() string {
	file, err := os.Executable()
	if err != nil {
		return c.helperCommand()
	}
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	helper := filepath.Join(filepath.Dir(file), "git-credential-ghapp")
	if runtime.GOOS == "windows" {
		helper += ".exe"
	}
	if _, err := exec.LookPath(helper); err != nil {
		return c.helperCommand()
	}
	return shellPath(helper)
}

// sessionHelper is the credential helper for a call of git that ghapp waits for. The
// shell that git starts for it answers store by itself: after every success git says
// which credential worked, and we know.
func (c *command) sessionHelper() string {
	helper := c.helperBeside()
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

// helperLine names the helper in git's configuration so that it finds the same App
// tomorrow, with nothing of today's flags and variables around it. Where the config file has
// the App, its settings are followed and not repeated: a key that moves is found where the
// file then says. What the file does not have is written out.
//
// A repository's own line names the file too: where git runs without HOME, as it may under
// cron, nothing else leads to it. It need not be there yet.
func (c *command) helperLine(s config.AppSettings, scope gitsetup.Scope, owner string) string {
	line := c.helperCommand()
	write := func(flag, value string) { line += " --" + flag + " " + text.ShellWord(value) }
	loaded, err := c.apps().Load()
	if err != nil {
		return line // and who asked for settings before has been told
	}
	path, _ := loaded.Path()
	if path.Source.Kind >= config.FromEnvironment || scope == gitsetup.Local && path.Text != "" {
		write("config", path.Text)
	}
	inFile, named := fileApp(loaded, s, owner)
	if inFile.Name != "" && (named || s.Name != "" && c.apps().Chosen("app")) { // not where its ID was said
		write("app", inFile.Name)
	}
	add := func(flag string, v, followed config.Value) {
		given := v.Source.Kind >= config.FromEnvironment && !v.HasSecret()
		if given && followed.Source.Kind != config.FromFile {
			write(flag, v.Text)
		}
	}
	if inFile.Name == "" {
		add("app", s.App, config.Value{})
	}
	add("key", s.Key, inFile.Key)
	add("key", s.PreviousKey, inFile.Key)
	add("key-timeout", s.KeyTimeout, inFile.Key)
	add("installation", s.Installation, inFile.Installation)
	if s.Host.Text != inFile.Host.Text {
		add("host", s.Host, config.Value{})
	}
	if s.APIURL.Text != inFile.APIURL.Text {
		add("api-url", s.APIURL, config.Value{})
	}
	add("api-version", s.APIVersion, inFile.APIVersion)
	add("ca-file", s.CAFile, inFile.CAFile)
	return line
}

// fileApp returns the App of the config file that these settings are of, without what flags
// and variables say, and whether it has to be named to be chosen for an owner. Its Name is ""
// where there is none.
func fileApp(loaded *config.Config, s config.AppSettings, owner string) (app config.AppSettings, named bool) {
	origin := func(a config.AppSettings) string {
		host, err := api.ParseHost(a.Host.Text, "")
		if err != nil {
			return a.Host.Text
		}
		return host.Origin
	}
	same := func(a config.AppSettings) bool {
		return a.App.Text == s.App.Text && origin(a) == origin(s) && (s.Name == "" || a.Name == s.Name)
	}
	alone := loaded.FileAlone()
	if chosen, err := alone.App(config.Selector{Owner: owner, Host: s.Host.Text}); err == nil && same(chosen) {
		return chosen, false
	}
	var found []config.AppSettings
	for _, a := range alone.Apps() {
		if s.App.Text != "" && same(a) {
			found = append(found, a)
		}
	}
	if len(found) != 1 {
		return config.AppSettings{}, false
	}
	return found[0], true
}

// onlyInEnvironment is the variable that git's configuration must not repeat: it holds
// the key, or a PIN. It is "" where there is none, or where the config file has a key.
func (c *command) onlyInEnvironment(s config.AppSettings, owner string) string {
	if loaded, err := c.apps().Load(); err == nil {
		inFile, _ := fileApp(loaded, s, owner)
		path := keyuri.FilePath(inFile.Key.Text)
		if _, err := os.Stat(path); inFile.Key.Text != "" && (path == "" || err == nil) {
			return ""
		}
	}
	switch {
	case !s.PrivateKey.IsZero():
		return s.PrivateKeySource.String()
	case s.Key.HasSecret() && s.Key.Source.Kind == config.FromEnvironment:
		return s.Key.Source.String()
	}
	return ""
}
