// Package configedit changes the config file, one value or the whole text at a time.
// Everything else in it stays as it is written, comments included, and what
// [config.Load] would refuse is not written.
package configedit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// File is the config file that is to be changed. [Open] finds it.
type File struct {
	path    string
	options config.Options // of the environment only what says where the file is
}

// Open finds the config file that flags and the environment name; it need not be there.
// What they say of an App is not looked at, and flags that do are refused: they look as
// if they would be written, or chose what is. The error is a [*fault.UsageError], a
// [*fault.SettingError] or a [*config.Error].
func Open(flags map[string]string, lookup func(string) (string, bool)) (*File, error) {
	for _, s := range config.Settings() {
		if _, ok := flags[s.Flag]; ok && s.Flag != "" && s.Key != "config" {
			return nil, &fault.UsageError{Err: fmt.Errorf(
				"--%s is not written to the config file: name the App in KEY, such as deploy.%s", s.Flag, s.Key)}
		}
	}
	o := config.Options{Flags: flags, New: true, LookupEnv: func(name string) (string, bool) {
		if strings.HasPrefix(name, "GHAPP_") && name != "GHAPP_CONFIG" {
			return "", false
		}
		return lookup(name)
	}}
	path, err := config.Path(o)
	switch {
	case err != nil:
		return nil, err
	case path.Text == "":
		return nil, NoPlace()
	}
	return &File{path.Text, o}, nil
}

// NoPlace is the error where neither flags nor the environment name a place for a config
// file.
func NoPlace() error {
	return &fault.SettingError{
		Err:  errors.New("there is no place for a config file: the environment has no home directory"),
		Hint: "set HOME or XDG_CONFIG_HOME, or name a file with --config",
	}
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Change makes a change in the file, and reports whether there is one now. Its errors
// say what to do about them.
func (f *File) Change(change func(*config.Draft) error) (changed bool, err error) {
	err = config.Edit(f.path, f.options, func(d *config.Draft) error {
		before := d.Bytes()
		err := change(d)
		changed = !bytes.Equal(before, d.Bytes())
		return err
	})
	if err == nil {
		return changed, nil
	}
	// Where the file was wrong already, that is to be mended first; it has the lines.
	if _, wrong := config.Load(f.options); wrong != nil {
		if told, ok := errors.AsType[*config.Error](wrong); ok {
			told.Problems = append(told.Problems, config.Problem{Text: "nothing was written",
				Hint: "mend the file with `ghapp config edit`"})
		}
		return false, wrong
	}
	if told, ok := errors.AsType[*config.Error](err); ok {
		for i := range told.Problems { // of a text that nobody has seen
			told.Problems[i].File, told.Problems[i].Line = "", 0
		}
	}
	return false, notWritten(err)
}

// notWritten gives an error of the system its hint and its exit code.
func notWritten(err error) error {
	for _, known := range []func(error) bool{
		func(err error) bool { _, ok := errors.AsType[*config.Error](err); return ok },
		func(err error) bool { _, ok := errors.AsType[*fault.SettingError](err); return ok },
		func(err error) bool { _, ok := errors.AsType[*fault.UsageError](err); return ok },
	} {
		if known(err) {
			return err
		}
	}
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = "run it as the user who owns the file and its directory, or name another file with --config"
	}
	return &fault.SettingError{Err: err, Hint: hint}
}
