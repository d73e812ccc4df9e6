// Package gitconfig is git's configuration on this machine: which file it is for a user, a
// machine or a repository, what git reads in them, and how they are edited so that git
// asks ghapp. What is written there, internal/gitsetup says.
package gitconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/userdirs"
)

// Files are the files of git's configuration as one git sees them.
type Files struct {
	// Git runs in the directory, and with the environment, that say which files these are.
	Git *gitcmd.Runner
}

func (f *Files) lookup(name string) (string, bool) { return childenv.Lookup(f.Git.Environ)(name) }

func (f *Files) home() string { return userdirs.Home(runtime.GOOS, f.lookup) }

// Path is the file that git writes to for a scope
// (https://git-scm.com/docs/git-config#FILES).
func (f *Files) Path(ctx context.Context, scope gitsetup.Scope) (string, error) {
	switch scope {
	case gitsetup.System:
		// git has the path built in, and tells it to an editor alone.
		asking := *f.Git
		asking.Environ = append(f.Git.Environ[:len(f.Git.Environ):len(f.Git.Environ)], "GIT_EDITOR=echo")
		out, err := asking.Output(ctx, gitcmd.Scope{}, "config", "--system", "--edit")
		return strings.TrimSuffix(string(out), "\n"), err
	case gitsetup.Local:
		out, err := f.Git.Output(ctx, gitcmd.Scope{}, "rev-parse", "--git-path", "config")
		if err != nil {
			return "", &fault.UsageError{Err: fmt.Errorf("--local is for the repository of the current directory: %w", err)}
		}
		return filepath.Abs(strings.TrimSuffix(string(out), "\n"))
	}
	return f.user()
}

// user is the file of this user.
func (f *Files) user() (string, error) {
	none := func(why, hint string) error {
		return &fault.SettingError{Err: errors.New("git has no configuration of this user: " + why),
			Hint: hint + ", or use --system or --local"}
	}
	if path, set := f.lookup("GIT_CONFIG_GLOBAL"); path != "" {
		return filepath.Abs(path)
	} else if set {
		return "", none("GIT_CONFIG_GLOBAL is set but empty", "unset it")
	}
	home := f.home()
	if home == "" {
		return "", none("the environment has no home directory", "set HOME")
	}
	path := filepath.Join(home, ".gitconfig")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	base, _ := f.lookup("XDG_CONFIG_HOME")
	if base == "" {
		base = filepath.Join(home, ".config")
	}
	if other := filepath.Join(base, "git", "config"); exists(other) {
		return other, nil
	}
	return path, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Entries is git's configuration as it stands in the current directory.
func (f *Files) Entries(ctx context.Context) ([]gitsetup.Entry, error) {
	out, err := f.Git.Output(ctx, gitcmd.Scope{}, "config", "--null", "--show-scope", "--show-origin", "--list")
	if err != nil {
		return nil, err
	}
	entries, err := gitsetup.ParseEntries(out)
	if err != nil {
		return nil, err
	}
	// git names a repository's own file as seen from the top of the work tree.
	top, err := f.Git.Output(ctx, gitcmd.Scope{}, "rev-parse", "--show-toplevel")
	for i, e := range entries {
		if e.File != "" && !filepath.IsAbs(e.File) && err == nil {
			entries[i].File = filepath.Join(strings.TrimSuffix(string(top), "\n"), e.File)
		}
	}
	return entries, nil
}

// Reads asks git whether it reads the end of a file as it was meant.
func (f *Files) Reads(ctx context.Context, path string, sections []gitsetup.Section) error {
	out, err := f.Git.Output(ctx, gitcmd.Scope{}, "config", "--file="+path, "--null", "--list")
	if err != nil {
		return err
	}
	var want strings.Builder
	for _, s := range sections {
		for _, setting := range s.Settings {
			fmt.Fprintf(&want, "%s\n%s\x00", s.Key(setting), setting.Value)
		}
	}
	if !strings.HasSuffix(string(out), want.String()) {
		return errors.New("git would not read it as it is meant; its last line may end with a backslash")
	}
	return nil
}

// Netrc are the logins that libcurl would use before git asks.
func (f *Files) Netrc(origin string) []gitsetup.Conflict {
	u, err := url.Parse(origin)
	if err != nil || f.home() == "" {
		return nil
	}
	names := []string{".netrc"}
	if runtime.GOOS == "windows" {
		names = append(names, "_netrc")
	}
	var list []gitsetup.Conflict
	for _, name := range names {
		path := filepath.Join(f.home(), name)
		text, err := os.ReadFile(path)
		if err != nil {
			continue // what cannot be read here, libcurl cannot read either
		}
		if line := gitsetup.Netrc(text, u.Hostname()); line > 0 {
			list = append(list, gitsetup.Conflict{
				File: path, Line: line, Key: "machine " + u.Hostname(),
				Text: "this login is sent before git asks anybody for a credential", Hint: "delete the entry",
			})
		}
	}
	return list
}

// EditEach edits files, and reports whether one of them has changed. check looks at the new
// text of one, in a file of that path, before it takes the place of the old one.
func EditEach(files []string, change func([]byte) []byte, check func(path string) error) (changed bool, err error) {
	for _, file := range files {
		one, err := gitsetup.Edit(file, change, check)
		changed = changed || one
		if err != nil {
			return changed, explained(err)
		}
	}
	return changed, nil
}

// explained says what to do about a file that cannot be edited.
func explained(err error) error {
	switch {
	case errors.Is(err, gitsetup.ErrLocked):
		return &fault.SettingError{Err: err, Hint: "if no git is writing it just now, " +
			"one was killed while it did: delete the lock file"}
	case errors.Is(err, fs.ErrPermission):
		return &fault.SettingError{Err: err, Hint: "run it as the user who owns the file, " +
			"or without --system for yourself alone"}
	}
	return err
}
