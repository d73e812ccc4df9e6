package gitsession

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/installed"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/internal/userdirs"
)

// lookupEnv is as [os.LookupEnv].
type lookupEnv = func(name string) (string, bool)

// LastingHelper is the credential helper as git's configuration names it: the program
// beside this one, or this one itself. It is an absolute path, which needs no PATH, and
// where there is a choice the one that the next version of ghapp has as well.
func LastingHelper(lookup lookupEnv) string {
	file, err := executable()
	if err != nil {
		return "ghapp" // git looks for git-credential-ghapp on its PATH
	}
	self := installed.Program{File: file, Invoked: os.Args[0], Home: userdirs.Home(runtime.GOOS, lookup)}
	self.Path, _ = lookup("PATH")
	self.User, _ = lookup("USER")
	helper, lasting := self.Lasting(helperName()), self.Lasting(filepath.Base(file))
	if _, err := exec.LookPath(helper); helper != "" && err == nil &&
		(installed.Lasts(helper) || !installed.Lasts(lasting)) {
		return shellPath(helper)
	}
	if lasting != "" {
		file = lasting
	}
	return "!" + text.ShellWord(filepath.ToSlash(file)) + " credential"
}

// Helper is the credential helper for a call of git that this process waits for: the program
// beside this one, whatever becomes of that tomorrow. The shell that git starts for it
// answers store by itself: after every success git says which credential worked, and we
// know.
func Helper(lookup lookupEnv) string {
	helper := helperBeside(lookup)
	if !strings.Contains(helper, "/") {
		return helper
	}
	return `!f() { test "$1" = store || exec ` + strings.TrimPrefix(helper, "!") + ` "$1"; }; f`
}

// helperBeside is [LastingHelper] without a search for a name that lasts.
func helperBeside(lookup lookupEnv) string {
	file, err := executable()
	if err != nil {
		return LastingHelper(lookup)
	}
	helper := filepath.Join(filepath.Dir(file), helperName())
	if _, err := exec.LookPath(helper); err != nil {
		return LastingHelper(lookup)
	}
	return shellPath(helper)
}

// executable is the file of this program, without symbolic links.
func executable() (string, error) {
	file, err := os.Executable()
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	return file, nil
}

func helperName() string {
	if runtime.GOOS == "windows" {
		return "git-credential-ghapp.exe"
	}
	return "git-credential-ghapp"
}

// shellPath is an absolute path as git runs it, through a shell where it has anything but
// plain characters.
func shellPath(path string) string {
	path = filepath.ToSlash(path)
	if quoted := text.ShellWord(path); quoted != path {
		return "!" + quoted
	}
	return path
}
