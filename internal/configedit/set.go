package configedit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// Set gives a key, as people write it, a value; several make a list. It returns the name
// of the key in its App, or "" where it is not a plain one of an App. The error is a
// [*fault.UsageError], a [*fault.SettingError] or a [*config.Error].
func (f *File) Set(key string, values []string) (of string, changed bool, err error) {
	if err := noSecrets(key, values); err != nil {
		return "", false, err
	}
	changed, err = f.Change(func(d *config.Draft) error {
		path, err := keyPath(d, key)
		if err != nil {
			return err
		}
		value, err := valueFor(path, values)
		if err != nil {
			return &fault.UsageError{Err: err}
		}
		if len(path) > 2 && path[2] != "app" && path[2] != "broker" && !d.Has("apps", path[1]) {
			// The reader would miss the app of an App that nobody means.
			return &fault.SettingError{
				Err: fmt.Errorf("there is no App %s in %s", named(path[1]), f.path),
				Hint: "`ghapp config show` has the names of those that are; " +
					"a new one begins with `ghapp config set NAME.app CLIENT-ID`",
			}
		}
		if of = ""; len(path) == 3 {
			of = path[2]
		}
		return d.Set(value, path...)
	})
	return of, changed, err
}

// Unset takes a key, as people write it, out of the file; the name of an App alone is all
// of it. Its errors are those of [File.Set].
func (f *File) Unset(key string) (changed bool, err error) {
	return f.Change(func(d *config.Draft) error {
		path, err := keyPath(d, key)
		if err != nil {
			return err
		}
		found, err := d.Unset(path...)
		if err == nil && !found {
			err = &fault.SettingError{
				Err:  fmt.Errorf("there is no %s in %s", named(key), f.path),
				Hint: "`ghapp config show` has the values of the file, with their lines",
			}
		}
		return err
	})
}

// Doubts are why a value, once it is set, may not do what it seems to: a variable goes
// before it, or a path leads to nothing. The key is as [File.Set] returns it; lookup is
// os.LookupEnv, and home the home directory.
func (f *File) Doubts(key string, values []string, lookup func(string) (string, bool), home string) []string {
	var doubts []string
	for _, s := range config.Settings() {
		if text, _ := lookup(s.Env); s.Key == key && strings.TrimSpace(text) != "" {
			doubts = append(doubts, s.Env+" is set, and goes before the config file")
		}
	}
	if key != "key" && key != "ca_file" {
		return doubts
	}
	for _, value := range values {
		full, err := config.CompleteKey(value, filepath.Dir(f.path), home)
		if path := keyuri.FilePath(full); err == nil && path != "" {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				doubts = append(doubts,
					path+" is not there; a path in the config file is taken from the directory of that file")
			}
		}
	}
	return doubts
}

// maxNamed is the length of the longest name that is repeated in a message. Anything
// longer could be a token that stands in the wrong place.
const maxNamed = 39

func named(name string) string {
	if len(name) > maxNamed {
		return fmt.Sprintf("(a name of %d characters)", len(name))
	}
	return name
}

// noSecrets refuses what others could read in the command line. What else is secret the
// reader of the file knows, and refuses as well.
func noSecrets(key string, values []string) error {
	if slices.ContainsFunc(values, keyuri.HasSecret) {
		return &fault.SettingError{
			Err:  fmt.Errorf("the value of %s has a PIN or a password in it, and others can read a command line", named(key)),
			Hint: "say where it is instead (pin-source=file:/path in a pkcs11: URI), or write it with `ghapp config edit`",
		}
	}
	return nil
}

// keyPath is where a key, as people write it, stands in the file. The name of an App may
// have dots in it: the longest one that is in the file is meant, and for a new App all
// but the last word.
func keyPath(d *config.Draft, key string) ([]string, error) {
	if ofSync(d, key) {
		return nil, &fault.UsageError{
			Err:  fmt.Errorf("%s is about directories to keep, which are not written value by value", named(key)),
			Hint: "write it with `ghapp config edit`, under sync: or sync_defaults:",
		}
	}
	if key != "default" && d.Has("apps", key) {
		return []string{"apps", key}, nil
	}
	name, rest := "", ""
	for i := len(key) - 1; i >= 0 && name == ""; i-- {
		if key[i] == '.' && d.Has("apps", key[:i]) {
			name, rest = key[:i], key[i+1:]
		}
	}
	if whole, ok := strings.CutPrefix(key, "apps."); ok && name == "" {
		return keyPath(d, whole) // as messages name it
	}
	if name == "" {
		dot := strings.LastIndexByte(key, '.')
		for _, mapping := range []string{".permissions.", ".repositories."} {
			if i := strings.Index(key, mapping); i >= 0 {
				dot = i // what follows may have dots as well
			}
		}
		if dot < 0 {
			return []string{key}, nil
		}
		name, rest = key[:dot], key[dot+1:]
	}
	if rest == "previous_key" {
		return nil, &fault.UsageError{Err: fmt.Errorf("the key before the newest one is given with it: "+
			"`ghapp config set %s.key NEWEST PREVIOUS`", named(name))}
	}
	path := []string{"apps", name}
	if mapping, entry, ok := strings.Cut(rest, "."); ok {
		return append(path, mapping, entry), nil
	}
	return append(path, rest), nil
}

// ofSync reports whether a key is one of sync: or sync_defaults:, and not of an App that is
// called so, or is to be.
func ofSync(d *config.Draft, key string) bool {
	first, rest, _ := strings.Cut(key, ".")
	return (first == "sync" || first == "sync_defaults") && rest != "app" && !d.Has("apps", first)
}

// valueFor is the value of a key in the form that the file has for it: what git may do
// is written as for --permissions.
func valueFor(path, values []string) (any, error) {
	last := path[len(path)-1]
	if len(path) == 3 && last == "permissions" || len(path) == 4 && path[2] == "repositories" {
		permissions, all, err := config.ParsePermissions(strings.Split(strings.Join(values, ","), ","))
		if err != nil || all || len(permissions) == 0 {
			return nil, fmt.Errorf("%s: want contents:read, contents:write or workflows:write",
				named(strings.Join(path[2:], ".")))
		}
		return map[string]string(permissions), nil
	}
	if len(values) == 1 && last != "owners" {
		return values[0], nil
	}
	return values, nil
}
